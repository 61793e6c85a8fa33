import {
  type Adapter,
  applyAdapter,
  type Batch,
  type Example,
  type Feeds,
  f32,
  type Graph,
  type Kinds,
  loadBatch,
  PeftError,
  type Rows,
  type TaskModel,
  type Tensor,
  type TensorRef,
} from '@peftjs/core';

/** An update as a model takes it: changes, and parameters in full. */
export type Update = Pick<Adapter, 'delta' | 'replaced'>;

/** Puts an update into the weights of a graph, in place: what it changes beside them takes no part in this form. */
export function putUpdate(graph: Graph, { delta, replaced }: Update, kinds: Kinds): void {
  const own = <T>(all: ReadonlyMap<string, T>) => new Map([...all].filter(([path]) => graph.weights.has(path)));
  const part = { delta: { shape: delta.shape, params: own(delta.params) }, replaced: own(replaced), digest: '' };
  const { parameters, pristine } = applyAdapter(graph.weights, part, { kinds });
  for (const path of pristine.keys()) graph.weights.set(path, once(parameters.get(path)!));
}

/** A reference that is computed once: a backend may read it in several pieces. */
function once(ref: TensorRef): TensorRef {
  let whole: Promise<Tensor> | undefined;
  return {
    dtype: ref.dtype,
    shape: ref.shape,
    read(range = {}) {
      if (range.from !== undefined || range.to !== undefined) return ref.read(range);
      whole ??= ref.read();
      return whole;
    },
  };
}

/** The rows as batches, with labels, so that a language model reads every row it would be trained on. */
export async function batchesOf<E extends Example>(
  { task }: TaskModel<E>,
  rows: Rows,
  batchSize: number,
): Promise<Batch[]> {
  const examples: E[] = [];
  for await (const row of rows) examples.push(task.encode(row, examples.length));
  if (examples.length === 0) throw new PeftError('DATA_INVALID', 'The calibration data has no rows.');
  const batches: Batch[] = [];
  for (let at = 0; at < examples.length; at += batchSize) {
    const count = Math.min(batchSize, examples.length - at);
    const indices = Array.from({ length: count }, (_, i) => at + i);
    batches.push(await loadBatch(task, examples, indices));
  }
  return batches;
}

/** 1 for every row of a symbolic count that is a token, 0 for padding: [rows, 1]. */
export function rowMask({ rows }: Batch, extent: string): Tensor {
  const origin = rows[extent];
  if (!origin) throw new PeftError('INTERNAL', `The task does not say which rows "${extent}" are.`);
  return f32(
    [origin.token.length, 1],
    Float32Array.from(origin.token, (token) => (token < 0 ? 0 : 1)),
  );
}

/** What a graph takes of the feeds. */
export const feedsFor = ({ inputs }: Graph, feeds: Feeds): Feeds =>
  Object.fromEntries(inputs.flatMap(({ name }) => (feeds[name] ? [[name, feeds[name]]] : [])));
