import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  type AnyMethod,
  type Backend,
  cast,
  type DType,
  type Example,
  type TaskModel,
  type TensorRef,
  tensorRef,
  train,
} from '@peftjs/core';
import { encodeSafetensors, type FileSet, folderFiles, memorySource, openSafetensors } from '@peftjs/core/files';
import { loadModel, sequenceClassification } from '@peftjs/models';

const fixture = (name: string) => fileURLToPath(new URL(`../../examples/fixtures/${name}`, import.meta.url));

/** Options beside the defaults, which suit larger bases and longer runs. */
const settings: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  compacter: { reductionFactor: 8 }, // a bottleneck of 4 in a width of 32
  galore: { r: 4 }, // no more than the rank of eight rows: Adam blows up the rounding in directions beyond
  s2ft: { roles: ['down'] }, // 3 % of four heads is none
  'sparse-mezo': { epsilon: 1e-2 }, // a difference of losses, rounding included, is divided by it
};

export interface TinyRun {
  readonly model: TaskModel<Example>;
  readonly data: readonly Record<string, string>[];
}

/** An encoder of width 32 that knows nothing, with eight rows to train on. @param dtype of the base's weights */
export async function tinyRun(dtype: DType = 'f32'): Promise<TinyRun> {
  const lines = readFileSync(fixture('train.tsv'), 'utf8').trim().split('\n');
  const rows = lines.slice(1, 9).map((line) => line.split('\t'));
  const data = rows.map(([text, label]) => ({ text: text!, label: label! }));
  const labels = [...new Set(data.map(({ label }) => label))].sort();
  const model = await loadModel(await encoderIn(dtype), { task: sequenceClassification({ labels }) });
  return { model: model as unknown as TinyRun['model'], data };
}

/** The encoder's directory with its weights in another type. */
async function encoderIn(dtype: DType): Promise<FileSet> {
  const folder = folderFiles(fixture('encoder'));
  const weights = await openSafetensors(fixture('encoder/model.safetensors'));
  const tensors = new Map<string, TensorRef>();
  for (const [name, ref] of weights.tensors) tensors.set(name, tensorRef(cast(await ref.read(), dtype)));
  await weights.close();
  const bytes = await encodeSafetensors(tensors);
  return {
    name: `${folder.name} in ${dtype}`,
    open: async (name) => (name === 'model.safetensors' ? memorySource(bytes, name) : folder.open(name)),
  };
}

/** The losses of twenty updates on all rows at once: one shape, which devices compile their programs for. */
export async function losses({ model, data }: TinyRun, bind: AnyMethod, backend: Backend): Promise<number[]> {
  const method = bind((settings[bind.method.name] ?? {}) as never);
  const run = train(model, { method, data: [...data], backend, lr: 5e-3, steps: 20, batchSize: data.length, seed: 3 });
  const found: number[] = [];
  for await (const event of run) if (event.type === 'step') found.push(event.loss);
  return found;
}
