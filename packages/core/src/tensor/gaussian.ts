/**
 * The Box-Muller transform made of + - * / and sqrt only. IEEE 754 fixes these to the bit, while engines differ in the
 * last bits of Math.log, Math.sin and Math.cos: a tensor rebuilt from its seed must be the same everywhere.
 */

/** ln(n / 2^32) for an integer n in [1, 2^32], by ln m = 2 atanh((m - 1) / (m + 1)) with m in [sqrt(1/2), sqrt(2)]. */
function logOfFraction(n: number): number {
  let exponent = n >= 4294967296 ? 32 : 31 - Math.clz32(n);
  let m = exponent === 32 ? 1 : n / ((1 << exponent) >>> 0);
  if (m > Math.SQRT2) {
    m /= 2;
    exponent += 1;
  }
  const s = (m - 1) / (m + 1); // at most 0.172, so the first term left out is below 1e-17
  const s2 = s * s;
  let sum = 0;
  for (let k = 21; k >= 1; k -= 2) sum = sum * s2 + 1 / k;
  return (exponent - 32) * Math.LN2 + 2 * s * sum;
}

/** Taylor series on [-pi/4, pi/4] up to the order whose rest is below 1e-17. */
function sine(x: number): number {
  const x2 = x * x;
  let sum = 1;
  for (let k = 16; k >= 2; k -= 2) sum = 1 - (sum * x2) / (k * (k + 1));
  return x * sum;
}

function cosine(x: number): number {
  const x2 = x * x;
  let sum = 1;
  for (let k = 17; k >= 1; k -= 2) sum = 1 - (sum * x2) / (k * (k + 1));
  return sum;
}

/**
 * Two independent standard normal numbers of two random 32-bit words, written to out[at] and out[at + 1] (the second
 * only where there is room). Largest magnitude: sqrt(64 ln 2) = 6.66.
 */
export function gaussianPair(word0: number, word1: number, out: Float64Array): void {
  const radius = Math.sqrt(-2 * logOfFraction(word0 + 1));
  const turn = word1 / 4294967296; // exact
  const quarter = Math.floor(turn * 4 + 0.5);
  const angle = (turn * 4 - quarter) * (Math.PI / 2);
  const s = sine(angle);
  const c = cosine(angle);
  const [cos, sin] = quarter === 1 ? [-s, c] : quarter === 2 ? [-c, -s] : quarter === 3 ? [s, -c] : [c, s];
  out[0] = radius * cos;
  out[1] = radius * sin;
}
