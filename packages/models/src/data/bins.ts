/** Samples by bin: each inner list is one row of the batch, sequence after sequence. */
export type Bins = readonly (readonly number[])[];

const total = (bin: readonly number[], lengths: readonly number[]) => bin.reduce((sum, i) => sum + lengths[i]!, 0);

/**
 * Splits samples into `count` bins of nearly equal token count: longest first into the emptiest, then swaps out of the
 * fullest bin as long as one lowers the larger of two bins. Bins that stay empty are left out.
 */
export function splitBins(lengths: readonly number[], count: number): number[][] {
  const bins = Array.from({ length: count }, () => [] as number[]);
  const sums = new Array<number>(count).fill(0);
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  for (const sample of order) {
    const emptiest = sums.indexOf(Math.min(...sums));
    bins[emptiest]!.push(sample);
    sums[emptiest]! += lengths[sample]!;
  }
  for (let round = 0; round < lengths.length && swapOnce(bins, sums, lengths); round++);
  return bins.filter((bin) => bin.length > 0);
}

/** Exchanges a sample of the fullest bin for a shorter one elsewhere where that lowers the maximum the most. */
function swapOnce(bins: number[][], sums: number[], lengths: readonly number[]): boolean {
  const from = sums.indexOf(Math.max(...sums));
  let best = { height: sums[from]!, to: -1, i: -1, j: -1 };
  for (const [to, bin] of bins.entries()) {
    if (to === from) continue;
    for (const [i, long] of bins[from]!.entries()) {
      for (const [j, short] of bin.entries()) {
        const moved = lengths[long]! - lengths[short]!;
        const height = Math.max(sums[from]! - moved, sums[to]! + moved);
        if (moved > 0 && height < best.height) best = { height, to, i, j };
      }
    }
  }
  if (best.to < 0) return false;
  const moved = lengths[bins[from]![best.i]!]! - lengths[bins[best.to]![best.j]!]!;
  [bins[from]![best.i], bins[best.to]![best.j]] = [bins[best.to]![best.j]!, bins[from]![best.i]!];
  sums[from]! -= moved;
  sums[best.to]! += moved;
  return true;
}

/**
 * Work of a grid of rows × length in units of one token's linear maps: attention adds its share in proportion to the
 * length, as much as they take at `attentionLength`.
 */
const work = ({ bins, length }: Grid, attentionLength: number) => bins.length * length * (1 + length / attentionLength);

interface Grid {
  readonly bins: Bins;
  readonly length: number;
}

const longestOf = (bins: Bins, lengths: readonly number[]) => Math.max(0, ...bins.map((bin) => total(bin, lengths)));

/** Most samples that share a row: with more, rows grow longer than attention pays for. */
const mostInRow = 6;

/** The layout with the least work: from n/6 rows to one sample a row (plain padding). */
export function cheapestBins(lengths: readonly number[], attentionLength = 1024): Grid {
  const n = lengths.length;
  let best: Grid = paddedBins(lengths);
  const step = Math.max(1, Math.floor(n / 64));
  for (let count = Math.ceil(n / mostInRow); count < n; count += step) {
    const bins = splitBins(lengths, count);
    const grid = { bins, length: longestOf(bins, lengths) };
    if (work(grid, attentionLength) < work(best, attentionLength)) best = grid;
  }
  return best;
}

/** One sample a row, in the order given. */
export const paddedBins = (lengths: readonly number[]): Grid => ({
  bins: lengths.map((_, i) => [i]),
  length: Math.max(0, ...lengths),
});
