/** The 32 bits of numbers that are not negative: they are ordered as the numbers are. */
const bitsOf = (scores: Float32Array): Uint32Array => new Uint32Array(scores.buffer, scores.byteOffset, scores.length);

const half = 1 << 16;

/** Where a running count over a histogram, from its small or its large end, reaches k; what lies before, and the place. */
function reach(counts: Uint32Array, k: number, largest: boolean): { readonly at: number; readonly before: number } {
  let before = 0;
  for (let i = 0; i < half; i++) {
    const at = largest ? half - 1 - i : i;
    if (before + counts[at]! >= k) return { at, before };
    before += counts[at]!;
  }
  return { at: largest ? 0 : half - 1, before };
}

/**
 * Marks exactly k of all scores together with 1: the largest or the smallest ones, among equal ones the earlier. Two
 * counts over halves of the bits find the cut, so that nothing is sorted.
 * @param lists not negative, no NaN
 * @param k from 0 to the number of scores
 */
export function marked(lists: readonly Float32Array[], k: number, end: 'largest' | 'smallest'): Uint8Array[] {
  const marks = lists.map(({ length }) => new Uint8Array(length));
  if (k === 0) return marks;
  const largest = end === 'largest';
  const all = lists.map(bitsOf);
  const high = new Uint32Array(half);
  for (const bits of all) for (const word of bits) high[word >>> 16] = high[word >>> 16]! + 1;
  const upper = reach(high, k, largest);
  const low = new Uint32Array(half);
  for (const bits of all)
    for (const word of bits) if (word >>> 16 === upper.at) low[word & (half - 1)] = low[word & (half - 1)]! + 1;
  const lower = reach(low, k - upper.before, largest);
  const cut = upper.at * half + lower.at;
  let ties = k - upper.before - lower.before;
  for (const [i, bits] of all.entries())
    for (let j = 0; j < bits.length; j++) {
      const beyond = largest ? bits[j]! > cut : bits[j]! < cut;
      if (beyond || (bits[j]! === cut && ties-- > 0)) marks[i]![j] = 1;
    }
  return marks;
}

/** Indices of the k largest scores, ascending. */
export function largest(scores: Float32Array, k: number): number[] {
  const [marks] = marked([scores], k, 'largest');
  const found: number[] = [];
  for (let i = 0; i < scores.length; i++) if (marks![i] === 1) found.push(i);
  return found;
}
