import type { Batch } from '@peftjs/core';
import type { Tensor } from '@peftjs/core/tensor';
import { cheapestBins, paddedBins } from './bins.js';

/** Label of a row that does not count. */
export const ignored = -100;

/** One sequence of a batch. */
export interface Sequence {
  readonly ids: readonly number[];
  readonly typeIds?: readonly number[];
  /** Tokens whose outputs are wanted, by their place in the sequence. */
  readonly reads: readonly number[];
  /** One label for each of `reads`. */
  readonly labels?: readonly number[];
}

export type Layout = 'bins' | 'padded';

export interface PackOptions {
  /** `bins` puts several sequences into a row where that saves work; the numbers are the same. Default `bins`. */
  readonly layout?: Layout;
  readonly padId?: number;
  /** Length at which attention takes as long as the linear maps; decides how full rows are. Default 1024. */
  readonly attentionLength?: number;
  /** Leaves out `labels` when false. */
  readonly labels?: boolean;
}

const i64 = (shape: readonly number[], values: Int32Array): Tensor => ({
  dtype: 'i64',
  shape,
  data: BigInt64Array.from(values, BigInt),
});

/** Which sample and which of its tokens every row of a grid holds; -1 is padding. */
interface RowMap {
  readonly sample: Int32Array;
  readonly token: Int32Array;
}

const rowMap = (rows: number): RowMap => ({
  sample: new Int32Array(rows).fill(-1),
  token: new Int32Array(rows).fill(-1),
});

/**
 * Lays sequences out as the feeds of a model graph. `indices` are the samples' numbers in the data set; they appear in
 * the row maps, so that a row's output finds its sample again.
 */
export function packBatch(
  sequences: readonly Sequence[],
  indices: readonly number[],
  options: PackOptions = {},
): Batch {
  const { layout = 'bins', padId = 0, labels: labelled = true } = options;
  const lengths = sequences.map(({ ids }) => ids.length);
  const { bins, length } = layout === 'bins' ? cheapestBins(lengths, options.attentionLength) : paddedBins(lengths);
  const reads = Math.max(1, ...bins.map((bin) => bin.reduce((n, i) => n + sequences[i]!.reads.length, 0)));

  const grid = [bins.length, length];
  const cells = bins.length * length;
  const ids = new Int32Array(cells).fill(padId);
  const [segment, position, type] = [new Int32Array(cells), new Int32Array(cells), new Int32Array(cells)];
  const tokens = rowMap(cells);
  const asked = rowMap(bins.length * reads);
  const read = Int32Array.from({ length: bins.length * reads }, (_, r) => Math.floor(r / reads) * length);
  const label = new Int32Array(bins.length * reads).fill(ignored);

  for (const [row, bin] of bins.entries()) {
    let cell = row * length;
    let slot = row * reads;
    for (const [place, i] of bin.entries()) {
      const sequence = sequences[i]!;
      for (const [k, token] of sequence.reads.entries()) {
        read[slot] = cell + token;
        label[slot] = sequence.labels?.[k] ?? ignored;
        asked.sample[slot] = indices[i]!;
        asked.token[slot++] = token;
      }
      for (const [token, id] of sequence.ids.entries()) {
        ids[cell] = id;
        segment[cell] = place + 1;
        position[cell] = token;
        type[cell] = sequence.typeIds?.[token] ?? 0;
        tokens.sample[cell] = indices[i]!;
        tokens.token[cell++] = token;
      }
    }
  }

  const feeds: Record<string, Tensor> = {
    input_ids: i64(grid, ids),
    attention_mask: i64(grid, segment),
    position_ids: i64(grid, position),
    read: i64([bins.length, reads], read),
  };
  if (sequences.some(({ typeIds }) => typeIds)) feeds.token_type_ids = i64(grid, type);
  if (labelled) feeds.labels = i64([bins.length, reads], label);
  return {
    feeds,
    labels: labelled ? label.reduce((n, l) => n + Number(l !== ignored), 0) : 0,
    tokens: lengths.reduce((sum, n) => sum + n, 0),
    rows: { 'batch*length': tokens, 'batch*reads': asked },
  };
}
