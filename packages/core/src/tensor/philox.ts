/**
 * Philox4x32-10: a block cipher in counter mode as a random number generator. Block n of a key is a pure function of
 * both, so any element of a stream can be made alone, in any order, on any machine.
 * Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 3.3.
 */

/** High 32 bits of the 64-bit product of a 32-bit number and a constant given as its low and high half. */
function multiplyHigh(a: number, low: number, high: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const middle = a1 * low + ((a0 * low) >>> 16);
  const carry = a0 * high + (middle & 0xffff);
  return (a1 * high + (middle >>> 16) + (carry >>> 16)) | 0;
}

/**
 * Writes block (c0, c1, c2, c3) of key (k0, k1) to out[at .. at + 3]. All numbers are 32-bit words.
 * One round: (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)).
 */
export function philox(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
  out: Uint32Array,
  at: number,
): void {
  for (let round = 0; round < 10; round++) {
    const high1 = multiplyHigh(c2, 0x8d57, 0xcd9e); // M1 = CD9E8D57
    const high0 = multiplyHigh(c0, 0x1f53, 0xd251); // M0 = D2511F53
    const low1 = Math.imul(c2, 0xcd9e8d57);
    const low0 = Math.imul(c0, 0xd2511f53);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0; // the Weyl sequence of the key: golden ratio, sqrt(3) - 1
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[at] = c0;
  out[at + 1] = c1;
  out[at + 2] = c2;
  out[at + 3] = c3;
}
