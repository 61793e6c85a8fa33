import { compacter, compacterKind } from '@peftjs/compacter';
import { createGraph, createOps, f32, type Tensor, withKinds } from '@peftjs/core';
import { kroneckerSum } from '../../../packages/compacter/src/math.js';
import { logitsOf } from '../adapted.js';
import { type Base, feedsOf, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext, Tensors } from '../case.js';
import { createChecks } from '../checks.js';
import type { TorchOptimizer } from '../optimizers.js';
import { adapterOf, planned, slopesAt, trainedLogits, trainedOut } from '../trained.js';

interface CompacterRecord extends CaseRecord {
  readonly config: {
    readonly n: number;
    readonly reduction_factor: number;
    readonly places: readonly string[];
    readonly optimizer: TorchOptimizer & { readonly steps: number };
  };
}

/** The name in a graph: `phm_rule` is shared, `place.down.s` a tensor of a target, the rest parameters of norms. */
function graphName(name: string): string {
  if (name === 'phm_rule') return '*:a';
  const layer = /^(.*)\.(down|up)\.([stb])$/.exec(name);
  if (layer) return `${layer[1]}:${layer[2]}${layer[3]!.toUpperCase()}`;
  const dot = name.lastIndexOf('.');
  return `${name.slice(0, dot)}:${name.slice(dot + 1)}`;
}

/** Tensors under a prefix, by what follows it. */
const under = (prefix: string, tensors: Tensors) =>
  [...tensors].flatMap(([name, tensor]) =>
    name.startsWith(prefix) ? [[name.slice(prefix.length), tensor] as const] : [],
  );

/** What a trained tensor is to the case: norms are trained as changes of their parameters. */
async function wholeOf(name: string, base: Base, train: Tensors): Promise<Tensor> {
  const own = train.get(graphName(name))!;
  const parameter = base.model.parameters.get(name);
  if (!parameter) return own;
  const before = (await parameter.read()).data as Float32Array;
  return f32(
    own.shape,
    (own.data as Float32Array).map((d, i) => before[i]! + d),
  );
}

/** H of one layer: [in, out]. */
async function matrixOf(layer: Readonly<Record<'a' | 's' | 't', Tensor>>, { backend }: RunContext): Promise<Tensor> {
  const graph = createGraph('phm');
  const ops = createOps(graph);
  const [a, s, t] = (['a', 's', 't'] as const).map((name) => ops.input(name, 'f32', layer[name].shape));
  ops.output(kroneckerSum(a!, { s: s!, t: t! }, ops), 'H');
  const program = await backend.compile(graph);
  const { H } = await program.run(layer);
  await program.dispose();
  return H!;
}

/** Compacter and Compacter++: Kronecker sums, gradients of the shared matrices, and an adapter that runs beside the base. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const { config } = folder.record as CompacterRecord;
  const { inputs, expected } = folder;
  const { backend } = context;
  const base = await openBase(folder);
  const feeds = feedsOf(base, inputs);
  const norms = under('final/', expected).flatMap(([name]) => /^(.*LayerNorm)\.weight$/.exec(name)?.[1] ?? []);
  const bound = compacter({
    n: config.n,
    reductionFactor: config.reduction_factor,
    targetModules: [...config.places, ...norms],
  });
  const start = under('start/', inputs);
  const trained = await planned(base, bound, new Map(start.map(([name, tensor]) => [graphName(name), tensor])));
  const checks = createChecks(folder);

  const given = new Map(start);
  for (const side of ['down', 'up'] as const) {
    const of = (letter: string) => given.get(`${config.places[0]}.${side}.${letter}`)!;
    checks.tensor(`H/${side}`, await matrixOf({ a: given.get('phm_rule')!, s: of('s'), t: of('t') }, context));
  }
  checks.tensor('logits/base', await logitsOf(base, [], feeds, backend));
  checks.tensor('logits/start', await trainedLogits(trained, trained.start.train, feeds, backend));
  const first = await slopesAt(trained, trained.start.train, feeds, backend);
  checks.tensor('loss/start', f32([], [first.loss]));
  for (const [name] of under('grad/', expected)) checks.tensor(`grad/${name}`, first.gradients.get(graphName(name)));

  const { optimizer } = config;
  const { losses, end } = await trainedOut(trained, optimizer, feeds, backend);
  checks.tensor('loss/steps', f32([losses.length], losses));
  for (const [name] of under('final/', expected)) checks.tensor(`final/${name}`, await wholeOf(name, base, end));
  const adapter = await adapterOf(trained, end);
  checks.tensor('logits/end', await logitsOf(base, [adapter], feeds, backend, withKinds(compacterKind)));
  checks.done();
}
