/** What a group of tensors keeps: everything above `threshold` in magnitude, and the first `ties` equal to it. */
export interface Cut {
  /** Bits of the float32 magnitude. */
  readonly threshold: number;
  readonly ties: number;
}

/** The statistics of one group, gathered in two passes over its tensors: 2^16 counters instead of a sort. */
export interface Statistics {
  readonly elements: number;
  readonly survivors: number;
  /** The standard deviation of all elements (n − 1), with the mean taken off. */
  readonly deviation: number;
  /** The mean magnitude of the survivors. */
  readonly meanSurvivor: number;
  readonly cut: Cut;
}

/** Magnitudes of float32 numbers order as their bits do without the sign. */
export const magnitudeBits = (x: Float32Array): Uint32Array => new Uint32Array(x.buffer, x.byteOffset, x.length);

const ABS = 0x7fffffff;
const INFINITE = 0x7f800000;

/** The magnitude that the bits stand for. */
const magnitudeOf = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0]!;

/** How many of d survive. */
export const survivorCount = (d: number, density: number, official: boolean): number =>
  Math.min(d, Math.floor(d * density) + (official ? 1 : 0));

/**
 * The threshold of the `survivors` largest magnitudes of a group, and its moments.
 * @param read gives the group's tensors one after the other, in order, each time it is called
 * @returns undefined when a number is NaN or infinite
 */
export async function statistics(
  read: () => AsyncIterable<Float32Array>,
  density: number,
  official: boolean,
): Promise<Statistics | undefined> {
  const high = new Float64Array(2 ** 15);
  let d = 0;
  let sum = 0;
  for await (const x of read()) {
    const bits = magnitudeBits(x);
    d += x.length;
    for (let i = 0; i < x.length; i++) {
      const m = bits[i]! & ABS;
      if (m >= INFINITE) return undefined;
      high[m >>> 16]!++;
      sum += x[i]!;
    }
  }
  const k = survivorCount(d, density, official);
  const mean = d > 0 ? sum / d : 0;
  const [bin, above] = largest(high, k);
  const low = new Float64Array(2 ** 16);
  let squares = 0;
  let survivorSum = 0;
  for await (const x of read()) {
    const bits = magnitudeBits(x);
    for (let i = 0; i < x.length; i++) {
      const m = bits[i]! & ABS;
      const top = m >>> 16;
      if (top === bin) low[m & 0xffff]!++;
      else if (top > bin) survivorSum += Math.abs(x[i]!);
      squares += (x[i]! - mean) ** 2;
    }
  }
  const [rest, within] = largest(low, k - above);
  const threshold = bin * 2 ** 16 + rest;
  const ties = official && k > 0 ? low[rest]! : k - above - within;
  for (let j = rest + 1; j < low.length; j++) survivorSum += low[j]! * magnitudeOf(bin * 2 ** 16 + j);
  survivorSum += ties * magnitudeOf(threshold);
  const survivors = above + within + ties;
  return {
    elements: d,
    survivors,
    // One number has no deviation: its own magnitude stands for it.
    deviation: d > 1 ? Math.sqrt(squares / (d - 1)) : Math.abs(sum),
    meanSurvivor: survivors > 0 ? survivorSum / survivors : 0,
    cut: { threshold, ties },
  };
}

/** The bin that holds the k-th largest, and how many lie in the bins above it. For k = 0, above all. */
function largest(counts: Float64Array, k: number): readonly [bin: number, above: number] {
  if (k === 0) return [counts.length, 0];
  let above = 0;
  for (let bin = counts.length - 1; bin >= 0; bin--) {
    if (above + counts[bin]! >= k) return [bin, above];
    above += counts[bin]!;
  }
  return [0, above];
}

/**
 * Calls with every survivor of a tensor, in order. A survivor that is 0 has no sign and is not one.
 * @param ties how many equal to the threshold may still survive; @returns how many are left after this tensor
 */
export function forEachKept(
  x: Float32Array,
  { threshold, ties }: Cut,
  visit: (i: number, positive: boolean) => void,
): number {
  const bits = magnitudeBits(x);
  let left = ties;
  for (let i = 0; i < x.length; i++) {
    const m = bits[i]! & ABS;
    if (m < threshold || (m === threshold && left === 0)) continue;
    if (m === threshold) left--;
    if (m !== 0) visit(i, bits[i]! >>> 31 === 0);
  }
  return left;
}
