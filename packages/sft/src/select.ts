/** Numbers to choose the largest of, read when they are needed. */
export interface Scores {
  readonly length: number;
  /** Zero or more; below zero for what must not be chosen. Taken as float32. */
  at(i: number): number;
}

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/** Bits of a float32, which are in the order of the numbers where none is negative; -1 for what must not be chosen. */
function key(score: number): number {
  if (score < 0) return -1;
  float[0] = score + 0; // -0 is 0
  return word[0]!;
}

const half = 2 ** 16;

/**
 * The `k` largest scores over all sources, or all there are: ascending positions for each source. Of equal scores those
 * of earlier sources, and there of lower positions, come first. Three passes and no sorting: a histogram of the upper
 * halves of the bits finds where the k-th score lies, one of the lower halves its exact bits.
 */
export function largest(sources: readonly Scores[], k: number): number[][] {
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
  const chosen = sources.map((): number[] => []);
  each(sources, (bits, i, source) => {
    if (bits > threshold || (bits === threshold && equal-- > 0)) chosen[source]!.push(i);
  });
  return chosen;
}

/** Calls `visit` for every score that may be chosen. */
function each(sources: readonly Scores[], visit: (bits: number, i: number, source: number) => void): void {
  sources.forEach((scores, source) => {
    for (let i = 0; i < scores.length; i++) {
      const bits = key(scores.at(i));
      if (bits >= 0) visit(bits, i, source);
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
