import { type Batch, type Example, PeftError, type Task, type Tensor, tensor } from '@peftjs/core';
import { tensorOf } from './numbers.js';

/** Numbers of a row. */
export const width = 6;
/** Tokens of the embedding. */
export const tokens = 5;
export const labels = ['low', 'middle', 'high'] as const;

export interface TinyExample extends Example {
  readonly features: readonly number[];
  readonly token: number;
  readonly label: number;
}

/** Rows to train on: columns `features` (six numbers), `token` (0 to 4) and `label`. */
export const tinyRows = (count = 12): Record<string, string>[] =>
  Array.from({ length: count }, (_, i) => ({
    features: Array.from(tensorOf('f32', [width], 'away', `row ${i}`).data as Float32Array, (v) => v.toFixed(3)).join(
      ' ',
    ),
    token: String(i % tokens),
    label: labels[(i * i + 1) % labels.length]!,
  }));

function encode(row: Readonly<Record<string, string>>, index: number): TinyExample {
  const features = (row.features ?? '').split(' ').map(Number);
  const label = labels.indexOf((row.label ?? '') as (typeof labels)[number]);
  if (features.length !== width || features.some(Number.isNaN) || label < 0) {
    throw new PeftError(
      'DATA_INVALID',
      `Row ${index}: needs ${width} numbers in "features" and a "label" of ${labels}.`,
    );
  }
  return { length: 1, features, token: Number(row.token), label };
}

function batch(examples: readonly TinyExample[], indices: readonly number[]): Batch {
  const n = examples.length;
  const i64 = (values: number[]) => tensor('i64', [n], BigInt64Array.from(values, BigInt));
  return {
    feeds: {
      input_ids: i64(examples.map(({ token }) => token)),
      features: tensor('f32', [n, width], Float32Array.from(examples.flatMap(({ features }) => features))),
      labels: i64(examples.map(({ label }) => label)),
    },
    labels: n,
    tokens: n,
    rows: { batch: { sample: Int32Array.from(indices), token: new Int32Array(n) } },
  };
}

/** The share of right answers. */
function accuracy() {
  let [seen, right] = [0, 0];
  return {
    add({ logits }: Readonly<Record<string, Tensor>>, { feeds }: Batch) {
      feeds.labels!.data.forEach((label, row) => {
        const scores = Array.from(
          (logits!.data as Float32Array).subarray(row * labels.length, (row + 1) * labels.length),
        );
        seen++;
        right += Number(scores.indexOf(Math.max(...scores)) === Number(label));
      });
    },
    result: () => ({ accuracy: seen ? right / seen : 0 }),
  };
}

export const tinyTask: Task<TinyExample> = {
  name: 'tiny-classification',
  labels,
  modulesToSave: [],
  encode,
  batch,
  metrics: accuracy,
  monitor: { metric: 'accuracy', better: 'higher' },
};

/** The feeds of all rows as one batch, with the weight that makes the loss their mean. */
export function tinyFeeds(count = 12): Record<string, Tensor> {
  const examples = tinyRows(count).map(encode);
  const { feeds } = batch(examples, [...examples.keys()]);
  return { ...feeds, loss_weight: tensor('f32', [], Float32Array.of(1 / count)) };
}
