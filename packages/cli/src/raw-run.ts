import {
  type Adapter,
  attachDelta,
  attachMethod,
  type Backend,
  baseLook,
  bindMethod,
  createOps,
  gradients,
  type ModelGraph,
  PeftError,
  resumeTensors,
  type ShapedValue,
  settlePlan,
  type Tensor,
  toAdapter,
} from '@peftjs/core';
import { optimize } from '@peftjs/core/graph';
import { toF32 } from '@peftjs/core/tensor';
import type { Model } from '@peftjs/models';
import type { Plugins } from './plugins.js';

/** A model, at most one adapter on it, and inputs under Hugging Face's names. */
export interface RawRun {
  readonly model: Model;
  readonly backend: Backend;
  readonly plugins: Plugins;
  readonly adapter?: Adapter;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly signal: AbortSignal;
}

type Feeds = Record<string, Tensor>;

const i64 = (shape: readonly number[], value: (i: number) => number | bigint): Tensor => ({
  dtype: 'i64',
  shape,
  data: BigInt64Array.from({ length: shape.reduce((n, extent) => n * extent, 1) }, (_, i) => BigInt(value(i))),
});

const numberAt = (tensor: Tensor, i: number): number => Number(tensor.data[i]);

function required(inputs: RawRun['inputs'], name: string): Tensor {
  const found = inputs.get(name);
  if (found) return found;
  throw new PeftError('DATA_INVALID', `The inputs have no ${name}; they have ${[...inputs.keys()].join(', ')}.`);
}

/** Feeds, and the grid of tokens that they make. */
interface Fed {
  readonly feeds: Feeds;
  readonly batch: number;
  readonly length: number;
}

/** The inputs as feeds; what transformers fills in by itself is filled in. */
function feedsOf(run: RawRun): Fed {
  const { architecture, config } = run.model;
  const image = architecture.image?.(architecture.config(config.raw));
  if (!image) return textFeeds(run);
  const pixels = required(run.inputs, 'pixel_values');
  return { feeds: { pixel_values: pixels }, batch: pixels.shape[0]!, length: image.tokens };
}

function textFeeds({ inputs }: RawRun): Fed {
  const ids = required(inputs, 'input_ids');
  const [batch, length] = ids.shape as [number, number];
  const given = (name: string, otherwise: (i: number) => number) => {
    const tensor = inputs.get(name);
    return i64([batch, length], (i) => (tensor ? numberAt(tensor, i) : otherwise(i)));
  };
  const feeds = {
    input_ids: i64([batch, length], (i) => numberAt(ids, i)),
    attention_mask: given('attention_mask', () => 1),
    position_ids: given('position_ids', (i) => i % length),
    token_type_ids: given('token_type_ids', () => 0),
  };
  return { feeds, batch, length };
}

/** One row a sequence: the token its head reads. */
function headRows({ model }: RawRun, { attention_mask: mask }: Feeds, batch: number, length: number): Tensor {
  const last = model.architecture.heads[model.task.head.name]?.token === 'last';
  const tokenOf = (row: number) => {
    if (!last || !mask) return 0;
    const real = Array.from({ length }, (_, t) => t).filter((t) => numberAt(mask, row * length + t) > 0);
    return real.at(-1) ?? 0;
  };
  return i64([batch, 1], (row) => row * length + tokenOf(row));
}

/** Runs a graph once, with those feeds that it has inputs for. */
async function runOnce(
  { backend, signal }: RawRun,
  graph: ModelGraph['graph'],
  feeds: Feeds,
  outputs: readonly string[],
) {
  optimize(graph);
  const program = await backend.compile(graph, { outputs, signal });
  try {
    const names = new Set(graph.inputs.map(({ name }) => name));
    return await program.run(Object.fromEntries(Object.entries(feeds).filter(([name]) => names.has(name))), { signal });
  } finally {
    await program.dispose();
  }
}

const adapted = async <M extends ModelGraph>({ adapter, plugins, model }: RawRun, graph: M): Promise<M> =>
  adapter ? attachDelta(graph, adapter, { kinds: plugins.kinds, parameters: model.parameters }) : graph;

/** `logits` or `last_hidden_state`: [batch, length, width] where every token has a row, else [batch, width]. */
export async function outputsOf(run: RawRun): Promise<[string, Tensor][]> {
  const { feeds, batch, length } = feedsOf(run);
  const whole = run.model.task.labels === undefined; // a classifier reads one token
  const graph = await adapted(run, run.model.graph('predict', { read: !whole }));
  const read: Feeds = whole ? {} : { read: headRows(run, feeds, batch, length) };
  const named = Object.entries(graph.outputs);
  const results = await runOnce(
    run,
    graph.graph,
    { ...feeds, ...read },
    named.map(([, { name }]) => name),
  );
  return named.map(([name, value]) => {
    const tensor = results[value.name]!;
    return [name, whole ? { ...tensor, shape: [batch, length, ...tensor.shape.slice(1)] } : tensor];
  });
}

/** Feeds of the training graph: for language models token t predicts label t + 1, as in transformers. */
function lossFeeds(run: RawRun): Feeds {
  const { feeds, batch, length } = feedsOf(run);
  const labels = required(run.inputs, 'labels');
  const shifted = run.model.task.name === 'causal-lm';
  const reads = length - 1;
  const wanted = shifted
    ? i64([batch, reads], (i) => numberAt(labels, Math.floor(i / reads) * length + (i % reads) + 1))
    : i64([batch, 1], (row) => numberAt(labels, row));
  const count = (wanted.data as BigInt64Array).filter((label) => label >= 0n).length;
  return {
    ...feeds,
    labels: wanted,
    read: shifted
      ? i64([batch, reads], (i) => Math.floor(i / reads) * length + (i % reads))
      : headRows(run, feeds, batch, length),
    loss_weight: { dtype: 'f32', shape: [], data: Float32Array.of(1 / Math.max(1, count)) },
  };
}

/** The mean loss over the labels that count: a scalar. */
export async function lossOf(run: RawRun): Promise<Tensor> {
  const graph = await adapted(run, run.model.graph('train'));
  const { name } = graph.outputs.loss!;
  return (await runOnce(run, graph.graph, lossFeeds(run), [name]))[name]!;
}

/** What an adapter replaces in full: modules trained beside it, and weights that it also changes (a saved embedding). */
function replacements({ replaced, delta }: Adapter) {
  const entries = [...replaced];
  return {
    kept: new Map(entries.filter(([path]) => !delta.params.has(path))),
    bases: new Map(entries.filter(([path]) => delta.params.has(path))),
  };
}

/** Gradients of the adapter's tensors, under the keys and in the layout of its own file. */
export async function adapterGradients(run: RawRun): Promise<ReadonlyMap<string, Tensor>> {
  const { model, plugins, adapter } = run;
  const { method, peft } = adapter!;
  if (!method)
    throw new PeftError(
      'CONFIG_UNSUPPORTED',
      'The adapter does not say its method, so it has no tensors to differentiate by.',
    );
  const { parameters, targets } = model;
  const { kept, bases } = replacements(adapter!);
  // A bias alone is trained through the configuration's `bias`, not as a module.
  const whole = [...kept.keys()].filter((path) => !path.endsWith('.bias'));
  const modulesToSave = [...new Set(whole.map((path) => path.slice(0, path.lastIndexOf('.'))))];
  const bound = plugins.bind(method.name, method.config as Record<string, unknown>);
  const laid = bindMethod(bound, { targets, parameters, modulesToSave });
  const plan = await settlePlan(laid, baseLook({ plan: laid, parameters, seed: 0, start: adapter! }));
  const start = await resumeTensors(plan, { ...adapter!, replaced: kept }, { seed: 0, parameters });
  const form = model.graph('train');
  for (const [path, ref] of bases) form.graph.weights.set(path, ref);
  const attached = attachMethod(form, plan, start, { training: false });
  const { graph, loss } = attached.model;
  const ops = createOps(graph);
  const values = gradients(
    graph,
    loss as ShapedValue,
    attached.trainables.map(({ value }) => value),
  );
  const named = attached.trainables.map(
    ({ name }, i) => [name, ops.output(values[i]!, `gradient:${name}`).name] as const,
  );
  const feeds = { ...lossFeeds(run), ...Object.fromEntries(start.train) };
  const results = await runOnce(
    run,
    graph,
    feeds,
    named.map(([, output]) => output),
  );

  // Written as an adapter whose numbers are the gradients, they get the keys and the layout of its file.
  const train = new Map(named.map(([name, output]) => [name, toF32(results[output]!)]));
  const asAdapter = await toAdapter(plan, { ...start, train }, { parameters });
  const layout = plugins.layouts.get(String(peft?.peft_type ?? plan.method.layout))!;
  const { tensors } = await layout.write({ ...asAdapter, ...(peft ? { peft } : {}) }, { kinds: plugins.kinds });
  return new Map(await Promise.all([...tensors].map(async ([key, ref]) => [key, await ref.read()] as const)));
}
