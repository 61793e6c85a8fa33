/** Adapters trained on three data sets over one encoder, and what an update scores on their test rows. */
import { type Adapter, type Backend, evaluate, type Row, type Rows, train } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { labelsIn, loadModel, rows, sequenceClassification } from '@peftjs/models';
import { sharedPath } from '@peftjs/testkit';

export const names = ['sst2', 'sst5', 'subj'] as const;

export interface Sizes {
  /** Rows of each set at most, evenly taken. */
  readonly train: number;
  readonly dev: number;
  readonly test: number;
  readonly epochs: number;
}

export interface Trained {
  readonly name: string;
  readonly adapter: Adapter;
  /** Accuracy on the test rows of the set with this update and the adapter's own head. */
  test(delta: Adapter['delta']): Promise<number>;
  /** The same on the development rows. */
  dev(delta: Adapter['delta']): Promise<number>;
}

/** Every k-th row, so that no more than `most` are left. */
async function some(source: Rows, most: number): Promise<Row[]> {
  const all: Row[] = [];
  for await (const row of source) all.push(row);
  const step = Math.max(1, all.length / most);
  return Array.from({ length: Math.min(all.length, most) }, (_, i) => all[Math.floor(i * step)]!);
}

/** LoRA of rank 8 on query and value: batches of 32, rate 1e-3 falling in a line after 6 % of the updates. */
export async function trainOn(
  name: string,
  base: string,
  backend: Backend,
  sizes: Sizes,
  seed: number,
): Promise<Trained> {
  const file = (part: string) => {
    const path = sharedPath('data', name, `${part}.tsv`);
    if (!path) throw new Error(`The data of ${name} are missing: set PEFTJS_SHARED.`);
    return rows(path);
  };
  const labels = await labelsIn(file('train'));
  const model = await loadModel(base, { task: sequenceClassification({ labels, maxLength: 128, head: 'new' }), seed });
  const adapter = await train(model, {
    method: lora({ r: 8, alpha: 16, targetModules: ['query', 'value'] }),
    data: await some(file('train'), sizes.train),
    backend,
    seed,
    lr: 1e-3,
    batchSize: 32,
    epochs: sizes.epochs,
    schedule: 'linear',
    warmupRatio: 0.06,
  }).result();
  const scorer = async (data: readonly Row[], delta: Adapter['delta']) => {
    const { accuracy } = await evaluate(model, { data, backend, adapter: { ...adapter, delta } });
    return accuracy!;
  };
  const [dev, test] = [await some(file('dev'), sizes.dev), await some(file('test'), sizes.test)];
  return { name, adapter, test: (delta) => scorer(test, delta), dev: (delta) => scorer(dev, delta) };
}
