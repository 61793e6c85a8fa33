import { PeftError } from '@peftjs/core';

/** One run of positions and signs: `nnz` survivors among `numel`, gaps coded with 2^b. */
export interface Rice {
  readonly numel: number;
  readonly nnz: number;
  readonly b: number;
}

/** The largest b of a stream. */
export const maxB = 31;

/**
 * The b that costs least for independent positions of this density:
 * b* = 1 + ⌊log2(ln(φ − 1) / ln(1 − k))⌋ with φ the golden ratio, at least 0 (ComPEFT, section 2.2, after Golomb).
 */
export function riceParameter(density: number): number {
  if (density <= 0) return maxB;
  if (density >= 1) return 0;
  const golden = (Math.sqrt(5) + 1) / 2;
  return Math.min(maxB, Math.max(0, 1 + Math.floor(Math.log2(Math.log(golden - 1) / Math.log1p(-density)))));
}

/** Bits a parameter takes: positions by Rice's code with b, and a sign for each survivor. */
export const riceBits = (density: number, b = riceParameter(density)): number =>
  density <= 0 ? 0 : density * (b + 1 / (1 - (1 - density) ** (2 ** b)) + 1);

/** The least bits a parameter can take on average when positions and signs are independent. */
export function entropyBits(density: number): number {
  const part = (p: number, q = p): number => (p === 0 ? 0 : -p * Math.log2(q));
  return part(1 - density) + part(density, density / 2);
}

/**
 * Writes gaps and signs: ⌊g / 2^b⌋ ones, a zero, the b low bits of g, the sign (1 is plus), least significant bit of each
 * byte first, the last byte filled with zeros.
 */
export interface RiceWriter {
  /** The survivor `gap` elements after the one before it (0 when it follows at once). */
  put(gap: number, positive: boolean): void;
  /** The bytes; nothing can be put after it. */
  end(): Uint8Array;
}

/** @param bits that will be written in all: what the survivors cost */
export function createRiceWriter(b: number, bits: number): RiceWriter {
  const bytes = new Uint8Array(Math.ceil(bits / 8));
  let at = 0;
  let word = 0; // fewer than 8 bits wait in it
  let held = 0;
  /** Up to 16 bits. */
  const write = (value: number, count: number): void => {
    word |= value << held;
    held += count;
    while (held >= 8) {
      bytes[at++] = word;
      word >>>= 8;
      held -= 8;
    }
  };
  return {
    put(gap, positive) {
      let ones = Math.floor(gap / 2 ** b);
      for (; ones >= 16; ones -= 16) write(0xffff, 16);
      write((1 << ones) - 1, ones + 1);
      if (b > 16) {
        write(gap & 0xffff, 16);
        write((gap >>> 16) & ((1 << (b - 16)) - 1), b - 16);
      } else write(gap & ((1 << b) - 1), b);
      write(positive ? 1 : 0, 1);
    },
    end() {
      if (held > 0) bytes[at++] = word;
      return bytes;
    },
  };
}

/**
 * Reads a stream that `createRiceWriter` wrote, calling with every survivor in order.
 * @throws PeftError FILE_INVALID for everything else: b or nnz out of bounds, a unary run or an index beyond the
 *   elements, bytes that are missing, left over, or filled with anything but zeros
 */
export function readRice(
  bytes: Uint8Array,
  { numel, nnz, b }: Rice,
  visit: (i: number, positive: boolean) => void,
  subject = 'The Rice stream',
): void {
  const fail = (problem: string): never => {
    throw new PeftError('FILE_INVALID', `${subject} is damaged: ${problem}.`);
  };
  if (!Number.isInteger(b) || b < 0 || b > maxB) fail(`b is ${b}; it must be from 0 to ${maxB}`);
  if (!Number.isSafeInteger(numel) || numel < 0) fail(`it has ${numel} elements`);
  if (!Number.isSafeInteger(nnz) || nnz < 0 || nnz > numel) fail(`${nnz} of ${numel} elements survive`);
  const total = bytes.length * 8;
  if (nnz * (b + 2) > total) fail(`${bytes.length} bytes cannot hold ${nnz} survivors with b = ${b}`);
  const longest = Math.floor(numel / 2 ** b);
  let at = 0; // in bits
  let index = -1;
  /** 16 bits from a place on, zeros after the end. */
  const peek = (bit: number): number => {
    const byte = Math.floor(bit / 8); // beyond 2^31 bits
    const three = (bytes[byte] ?? 0) | ((bytes[byte + 1] ?? 0) << 8) | ((bytes[byte + 2] ?? 0) << 16);
    return (three >>> (bit % 8)) & 0xffff;
  };
  for (let n = 0; n < nnz; n++) {
    let ones = 0;
    for (;;) {
      const run = Math.min(16, 31 - Math.clz32(~peek(at) & (peek(at) + 1)));
      ones += run;
      at += run;
      if (ones > longest) fail(`survivor ${n} begins with a run of more than ${longest} ones`);
      if (run < 16) break;
    }
    at++;
    let low = 0;
    if (b > 16) {
      low = peek(at) + (peek(at + 16) & ((1 << (b - 16)) - 1)) * 2 ** 16;
    } else low = peek(at) & ((1 << b) - 1);
    at += b;
    const positive = (peek(at) & 1) === 1;
    at++;
    if (at > total) fail(`it ends within survivor ${n} of ${nnz}`);
    index += ones * 2 ** b + low + 1;
    if (index >= numel) fail(`survivor ${n} has the index ${index} of ${numel}`);
    visit(index, positive);
  }
  if (Math.ceil(at / 8) !== bytes.length) fail(`${bytes.length - Math.ceil(at / 8)} bytes are left over`);
  if (at % 8 !== 0 && bytes[bytes.length - 1]! >>> (at % 8) !== 0) fail('the bits after its end are not zero');
}
