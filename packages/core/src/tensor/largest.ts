/** Numbers to choose the largest of, read when they are needed. */
export interface Scores {
  readonly length: number;
  /** Taken as float32; -Infinity for what must not be chosen. */
  at(i: number): number;
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** 32 bits in the order of the float32 numbers; -1 for what must not be chosen. */
function key(score: number): number {
  if (score === Number.NEGATIVE_INFINITY) return -1;
  float[0] = Math.fround(score) + 0; // -0 is 0
  const bits = word[0]!;
  return bits < 2 ** 31 ? bits + 2 ** 31 : 2 ** 32 - 1 - bits;
}

const half = 2 ** 16;

/**
 * Calls `visit` for the `k` largest scores over all sources, or for all there are: source by source, positions ascending.
 * Of equal scores those of earlier sources, and there of lower positions, come first. Three passes and no sorting: a
 * histogram of the upper halves of the bits finds where the k-th score lies, one of the lower halves its exact bits.
 */
export function eachLargest(sources: readonly Scores[], k: number, visit: (i: number, source: number) => void): void {
  const upper = new Float64Array(half);
  each(sources, (bits) => {
    upper[bits >>> 16]!++;
  });
  const [high, above] = crossing(upper, k);
  const lower = new Float64Array(half);
  each(sources, (bits) => {
    if (bits >>> 16 === high) lower[bits & (half - 1)]!++;
  });
  const [low, nearer] = crossing(lower, k - above);
  const threshold = high * half + low;
  let equal = k - above - nearer;
  each(sources, (bits, i, source) => {
    if (bits > threshold || (bits === threshold && equal-- > 0)) visit(i, source);
  });
}

/** The same as lists: ascending positions for each source. */
export function largest(sources: readonly Scores[], k: number): number[][] {
  const chosen = sources.map((): number[] => []);
  eachLargest(sources, k, (i, source) => chosen[source]!.push(i));
  return chosen;
}

/** Calls `use` for every score that may be chosen. */
function each(sources: readonly Scores[], use: (bits: number, i: number, source: number) => void): void {
  sources.forEach((scores, source) => {
    for (let i = 0; i < scores.length; i++) {
      const bits = key(scores.at(i));
      if (bits >= 0) use(bits, i, source);
    }
  });
}

/** The highest bin at which the count from the top reaches k, and how many lie above it; bin 0 when it never does. */
function crossing(bins: Float64Array, k: number): [bin: number, above: number] {
  let above = 0;
  let bin = bins.length - 1;
  for (; bin > 0 && above + bins[bin]! < k; bin--) above += bins[bin]!;
  return [bin, above];
}
