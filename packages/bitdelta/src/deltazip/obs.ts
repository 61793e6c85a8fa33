import { PeftError } from '@peftjs/core';
import type { Matrix } from '@peftjs/core/tensor';
import { inverseFactor } from './factor.js';
import { type CodeBits, codeOf, numberOf, scaleOfRun } from './quantiser.js';
import { groupColumns, pruneGroup, requireGroups } from './two-of-four.js';

export interface ObsOptions {
  /** Bits of a code; weights are not quantised when absent. */
  readonly bits?: CodeBits;
  /** Two of four columns are kept. */
  readonly structured: boolean;
  /** Part of the mean of H's diagonal that is added to it. */
  readonly damping: number;
  /** Columns that share a scale; the whole row when absent. */
  readonly groupSize?: number;
}

export interface ObsResult {
  /** What the weights became: rows × columns. */
  readonly delta: Float64Array;
  /** rows × columns; absent without `bits`. */
  readonly codes?: Uint8Array;
  /** [rows, number of groups]; absent without `bits`. */
  readonly scale?: Float32Array;
  /** 1 is pruned; absent when not `structured`. */
  readonly pruned?: Uint8Array;
}

/** Columns that are finished before the rest hears of their errors: a matter of speed, not of results. */
const blockColumns = 128;

/**
 * Prunes and quantises the columns of W from left to right, and lets the columns to the right make up for each error:
 * w ← w − (w_i − q_i) U_i / U_ii, where UᵀU = H⁻¹ (SparseGPT, Frantar & Alistarh 2023, algorithm 1; DeltaZip, Yao et al.
 * 2025, section 4). Of four columns the two with the smallest w² / U_ii² go.
 * @param w rows × n @param h n × n second moments of the inputs, Σ x xᵀ up to a factor. Without it inputs count as
 *   independent and alike: what remains is pruning by magnitude and rounding to nearest.
 * @throws PeftError CONFIG_INVALID when H is not positive definite or n is no multiple of four
 */
export function obs(w: Matrix, h: Float64Array | undefined, options: ObsOptions): ObsResult {
  const { rows, columns: n } = w;
  const { bits, structured, groupSize = Math.max(1, n) } = options;
  if (structured) requireGroups(n);
  const work = Float64Array.from(w.data);
  const groups = Math.ceil(n / groupSize);
  const scale = new Float64Array(rows * groups);
  const codes = new Uint8Array(rows * n);
  const pruned = new Uint8Array(rows * n);
  // The scale of whole rows is that of the weights as they come: later ones are those of the moment.
  if (bits && groups === 1) for (let o = 0; o < rows; o++) scale[o] = scaleOfRun(rowOf(work, o, n), bits);
  const u = h && prepare(h, n, options.damping, work);

  const block = groupSize * Math.ceil(blockColumns / groupSize);
  const errors = new Float64Array(Math.min(block, n));
  for (let start = 0; start < n; start += block) {
    const end = Math.min(n, start + block);
    for (let o = 0; o < rows; o++) {
      const row = rowOf(work, o, n);
      for (let i = start; i < end; i++) {
        if (bits && groups > 1 && i % groupSize === 0)
          scale[o * groups + i / groupSize] = scaleOfRun(row.subarray(i, Math.min(n, i + groupSize)), bits);
        if (structured && i % groupColumns === 0)
          pruneGroup((k) => (row[i + k]! / (u ? u[(i + k) * n + i + k]! : 1)) ** 2, pruned, o * n + i);
        const from = row[i]!;
        let to = pruned[o * n + i] === 1 ? 0 : from;
        if (bits) {
          const s = scale[o * groups + Math.floor(i / groupSize)]!;
          codes[o * n + i] = codeOf(to, s, bits);
          to = numberOf(codes[o * n + i]!, s, bits);
        }
        row[i] = to;
        if (!u) continue;
        const error = (from - to) / u[i * n + i]!;
        errors[i - start] = error;
        for (let j = i + 1; j < end; j++) row[j] = row[j]! - error * u[i * n + j]!;
      }
      if (u) spread(row, errors, u, { start, end, n });
    }
  }
  return { delta: work, ...(bits && { codes, scale: Float32Array.from(scale) }), ...(structured && { pruned }) };
}

const rowOf = (data: Float64Array, o: number, n: number): Float64Array => data.subarray(o * n, (o + 1) * n);

/** The errors of columns `start` to `end` reach the columns after them. */
function spread(
  row: Float64Array,
  errors: Float64Array,
  u: Float64Array,
  { start, end, n }: { start: number; end: number; n: number },
): void {
  for (let i = start; i < end; i++) {
    const error = errors[i - start]!;
    if (error !== 0) for (let j = end; j < n; j++) row[j] = row[j]! - error * u[i * n + j]!;
  }
}

/** U of the damped H. Inputs that never fire lose their weights: nothing can be told from them. */
function prepare(h: Float64Array, n: number, damping: number, w: Float64Array): Float64Array {
  if (h.length !== n * n)
    throw new PeftError('CONFIG_INVALID', `The second moments have ${h.length} numbers, expected are ${n} × ${n}.`);
  const damped = Float64Array.from(h);
  let trace = 0;
  for (let i = 0; i < n; i++) {
    if (damped[i * n + i] === 0) {
      damped[i * n + i] = 1;
      for (let at = i; at < w.length; at += n) w[at] = 0;
    }
    trace += damped[i * n + i]!;
  }
  for (let i = 0; i < n; i++) damped[i * n + i] = damped[i * n + i]! + (damping * trace) / n;
  return inverseFactor(damped, n);
}
