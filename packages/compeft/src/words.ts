import { PeftError } from '@peftjs/core';

/** Numbers in {-1, 0, 1}: element i is bit i % 32 of word i >> 5, in one mask or the other, never in both. */
export interface Ternary {
  readonly n: number;
  readonly plus: Uint32Array;
  readonly minus: Uint32Array;
}

/** More elements than this have no index in 32 bits. */
export const maxElements = 2 ** 32 - 32;

export const wordCount = (n: number): number => Math.ceil(n / 32);

/** All zero. @throws PeftError CONFIG_INVALID for more than 2^32 elements */
export function zeros(n: number): Ternary {
  if (n > maxElements)
    throw new PeftError('CONFIG_INVALID', `A ternary tensor holds up to ${maxElements} elements, not ${n}.`);
  return { n, plus: new Uint32Array(wordCount(n)), minus: new Uint32Array(wordCount(n)) };
}

/** Sets bit i. */
export function setBit(words: Uint32Array, i: number): void {
  words[i >>> 5]! |= 1 << (i & 31);
}

export function fromSigns(signs: ArrayLike<number>): Ternary {
  const t = zeros(signs.length);
  for (let i = 0; i < signs.length; i++) {
    if (signs[i]! > 0) setBit(t.plus, i);
    else if (signs[i]! < 0) setBit(t.minus, i);
  }
  return t;
}

/** Bits that are set in a word: pairs, nibbles and bytes added side by side. */
export function popcount(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Elements that are not zero. */
export function survivors({ plus, minus }: Ternary): number {
  let count = 0;
  for (let w = 0; w < plus.length; w++) count += popcount(plus[w]! | minus[w]!);
  return count;
}

/** Calls with the index and the sign of every element that is not zero, in order. */
export function forEachSurvivor({ plus, minus }: Ternary, visit: (i: number, positive: boolean) => void): void {
  for (let w = 0; w < plus.length; w++) {
    const p = plus[w]!;
    let any = p | minus[w]!;
    while (any !== 0) {
      const lowest = any & -any;
      visit(w * 32 + 31 - Math.clz32(lowest), (p & lowest) !== 0);
      any ^= lowest;
    }
  }
}

/** s in {-1, 0, 1} times `scale`. */
export function toF32(t: Ternary, scale = 1): Float32Array {
  const y = new Float32Array(t.n);
  forEachSurvivor(t, (i, positive) => {
    y[i] = positive ? scale : -scale;
  });
  return y;
}

/** What is wrong with masks for n elements; undefined when nothing is. */
export function maskProblem({ n, plus, minus }: Ternary): string | undefined {
  const words = wordCount(n);
  if (plus.length !== words || minus.length !== words)
    return `masks of ${plus.length} and ${minus.length} words cannot hold ${n} elements, which take ${words}`;
  for (let w = 0; w < words; w++)
    if ((plus[w]! & minus[w]!) !== 0) return `an element from ${w * 32} on is both plus and minus`;
  const tail = n % 32;
  if (tail > 0 && (plus[words - 1]! | minus[words - 1]!) >>> tail !== 0) return `bits after the last of ${n} are set`;
  return undefined;
}

/** Masks that are in order. @throws PeftError ADAPTER_INVALID */
export function ternaryOf(n: number, plus: Uint32Array, minus: Uint32Array): Ternary {
  const t = { n, plus, minus };
  const problem = maskProblem(t);
  if (problem) throw new PeftError('ADAPTER_INVALID', `These are no ternary numbers: ${problem}.`);
  return t;
}
