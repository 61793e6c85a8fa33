import {
  createGraph,
  createOps,
  type ModelGraph,
  type ShapedValue,
  type Site,
  type Target,
  type TaskModel,
  type TensorRef,
  tensorRef,
} from '@peftjs/core';
import { digestTensors } from '@peftjs/core/files';
import { tensorOf } from './numbers.js';
import { labels, type TinyExample, tinyTask, tokens, width } from './tiny-task.js';

const inner = 8;

/** Targets of the tiny model: one of each kind that a matrix can be added to. */
const modules: Readonly<Record<string, Pick<Target, 'kind' | 'in' | 'out' | 'layer' | 'role' | 'head'>>> = {
  'model.embed': { kind: 'embedding', in: tokens, out: width },
  'model.layers.0.up': { kind: 'linear', in: width, out: inner, layer: 0, role: 'up' },
  'model.layers.0.down': { kind: 'linear', in: inner, out: width, layer: 0, role: 'down' },
  'model.layers.1.mix': { kind: 'conv1d', in: width, out: inner, layer: 1, role: 'other' },
  head: { kind: 'linear', in: inner, out: labels.length, head: true },
};

const shapes: Readonly<Record<string, readonly number[]>> = {
  'model.embed.weight': [tokens, width],
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

/** logits = head(tanh(mix(tanh(down(gelu(up(embed[ids] + features))))))), rows apart. */
function build(parameters: ReadonlyMap<string, TensorRef>, form: 'train' | 'evaluate' | 'predict') {
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
    task: tinyTask,
    graph(form): ModelGraph & { readonly loss?: ShapedValue } {
      const { graph, ops, sites, logits: scores } = build(parameters, form);
      const logits = ops.output(scores, 'logits');
      if (form !== 'train') return { graph, sites, outputs: { logits } };
      const weight = ops.input('loss_weight', 'f32', []);
      const loss = ops.output(ops.crossEntropy(scores, ops.input('labels', 'i64', ['batch']), weight), 'loss');
      return { graph, sites, outputs: { logits, loss }, loss };
    },
  };
}
