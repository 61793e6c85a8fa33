import type { Batch } from '@peftjs/core';
import type { Tensor } from '@peftjs/core/tensor';

/** What a model said about one labelled row. */
export interface Judged {
  readonly label: number;
  readonly predicted: number;
  /** -log p(label) in nats. */
  readonly loss: number;
}

/**
 * The labelled rows of a batch. Outputs hold either `logits` [rows, classes], or what the form `evaluate` computes from
 * them: `nll` f32 [rows] and `predicted` i64 [rows].
 */
export function* judge(outputs: Readonly<Record<string, Tensor>>, batch: Batch): Generator<Judged> {
  const labels = batch.feeds.labels?.data as BigInt64Array | undefined;
  for (const [row, value] of labels?.entries() ?? []) {
    const label = Number(value);
    if (label < 0) continue;
    yield outputs.nll
      ? { label, predicted: Number(outputs.predicted!.data[row]), loss: Number(outputs.nll.data[row]) }
      : { label, ...judgeRow(rowOf(outputs.logits!, row), label) };
  }
}

/** One row of a matrix. */
export function rowOf({ data, shape }: Tensor, row: number): Float32Array {
  const width = shape[1]!;
  return (data as Float32Array).subarray(row * width, (row + 1) * width);
}

function judgeRow(logits: Float32Array, label: number): { predicted: number; loss: number } {
  const predicted = argmax(logits);
  const highest = logits[predicted]!;
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - highest);
  return { predicted, loss: Math.log(sum) + highest - logits[label]! };
}

/** The first of the largest. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The read row of each sample of a batch, in the order of the samples' numbers. */
export function rowsBySample(batch: Batch): number[] {
  const { sample } = batch.rows['batch*reads']!;
  const rows: number[] = [];
  for (const [row, number] of sample.entries()) if (number >= 0) rows[number] ??= row;
  return Object.values(rows);
}

export function softmax(logits: Float32Array): number[] {
  const highest = Math.max(...logits);
  const powers = Array.from(logits, (x) => Math.exp(x - highest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((x) => x / sum);
}
