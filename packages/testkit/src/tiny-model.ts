import {
  type Batch,
  createGraph,
  createOps,
  type Example,
  type ModelGraph,
  PeftError,
  type ShapedValue,
  type Site,
  type Target,
  type Task,
  type TaskModel,
  type Tensor,
  type TensorRef,
  tensor,
  tensorRef,
} from '@peftjs/core';
import { digestTensors } from '@peftjs/core/files';
import { tensorOf } from './numbers.js';

const width = 6;
const inner = 8;
const rows = 5;
const labels = ['low', 'middle', 'high'] as const;

/** Targets of the tiny model: one of each kind that a matrix can be added to. */
const modules: Readonly<Record<string, Pick<Target, 'kind' | 'in' | 'out' | 'layer' | 'role' | 'head'>>> = {
  'model.embed': { kind: 'embedding', in: rows, out: width },
  'model.layers.0.up': { kind: 'linear', in: width, out: inner, layer: 0, role: 'up' },
  'model.layers.0.down': { kind: 'linear', in: inner, out: width, layer: 0, role: 'down' },
  'model.layers.1.mix': { kind: 'conv1d', in: width, out: inner, layer: 1, role: 'other' },
  head: { kind: 'linear', in: inner, out: labels.length, head: true },
};

const shapes: Readonly<Record<string, readonly number[]>> = {
  'model.embed.weight': [rows, width],
  'model.layers.0.up.weight': [inner, width],
  'model.layers.0.up.bias': [inner],
  'model.layers.0.down.weight': [width, inner],
  'model.layers.0.down.bias': [width],
  'model.layers.1.mix.weight': [width, inner],
  'model.layers.1.mix.bias': [inner],
  'head.weight': [labels.length, inner],
  'head.bias': [labels.length],
};

/** The base weights: seeded numbers of a size that keeps activations in the curved part of the tanh. */
export const tinyParameters = (): Map<string, TensorRef> =>
  new Map(
    Object.entries(shapes).map(([path, shape]) => [
      path,
      tensorRef(tensorOf('f32', shape, { from: -0.6, to: 0.6 }, path)),
    ]),
  );

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
    token: String(i % rows),
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

const task: Task<TinyExample> = {
  name: 'tiny-classification',
  labels,
  modulesToSave: [],
  encode,
  batch,
  metrics: accuracy,
  monitor: { metric: 'accuracy', better: 'higher' },
};

/** logits = head(tanh(mix(tanh(down(gelu(up(embed[ids] + features))))))), rows apart. */
function build(parameters: ReadonlyMap<string, TensorRef>, form: 'train' | 'predict') {
  const graph = createGraph(`tiny/${form}`);
  const ops = createOps(graph);
  const sites = new Map<string, Site>();
  const weight = (path: string) => ops.weight(path, parameters.get(path)!);
  const place = (path: string, x: ShapedValue, y: ShapedValue): ShapedValue => {
    sites.set(path, { target: targetOf(path, parameters), x, y });
    return y;
  };
  const layer = (path: string, x: ShapedValue): ShapedValue => {
    const transB = modules[path]!.kind !== 'conv1d';
    return place(path, x, ops.gemm(x, weight(`${path}.weight`), weight(`${path}.bias`), { transB }));
  };
  const ids = ops.input('input_ids', 'i64', ['batch']);
  const features = ops.input('features', 'f32', ['batch', width]);
  const h = ops.add(place('model.embed', ids, ops.gather(weight('model.embed.weight'), ids)), features);
  const y = ops.tanh(layer('model.layers.0.down', ops.gelu(layer('model.layers.0.up', h))));
  const logits = layer('head', ops.tanh(layer('model.layers.1.mix', y)));
  return { graph, ops, sites, logits };
}

function targetOf(path: string, parameters: ReadonlyMap<string, TensorRef>): Target {
  const own = [...parameters].filter(([name]) => name.slice(0, name.lastIndexOf('.')) === path);
  return {
    path,
    ...modules[path]!,
    parameters: Object.fromEntries(own.map(([name, ref]) => [name.slice(path.length + 1), ref])),
  };
}

/**
 * A classifier small enough for float64 in plain JavaScript, with targets of every kind that a matrix can be added to:
 * an embedding, two linear layers, a conv1d, and a head.
 */
export function tinyModel(parameters: ReadonlyMap<string, TensorRef> = tinyParameters()): TaskModel<TinyExample> {
  return {
    name: 'tiny',
    digest: () => digestTensors(parameters),
    targets: Object.keys(modules).map((path) => targetOf(path, parameters)),
    parameters,
    task,
    graph(form): ModelGraph & { readonly loss?: ShapedValue } {
      const { graph, ops, sites, logits: scores } = build(parameters, form);
      const logits = ops.output(scores, 'logits');
      if (form === 'predict') return { graph, sites, outputs: { logits } };
      const weight = ops.input('loss_weight', 'f32', []);
      const loss = ops.output(ops.crossEntropy(scores, ops.input('labels', 'i64', ['batch']), weight), 'loss');
      return { graph, sites, outputs: { logits, loss }, loss };
    },
  };
}

/** The feeds of all rows as one batch, with the weight that makes the loss their mean. */
export function tinyFeeds(count = 12): Record<string, Tensor> {
  const examples = tinyRows(count).map(encode);
  const { feeds } = batch(examples, [...examples.keys()]);
  return { ...feeds, loss_weight: tensor('f32', [], Float32Array.of(1 / count)) };
}
