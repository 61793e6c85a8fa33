import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createGraph,
  createOps,
  f32,
  gradients,
  lowRankTerm,
  type Method,
  type Params,
  readAdapter,
  type Tensor,
  tensorRef,
  writeAdapter,
} from '@peftjs/core';
import { nola } from '@peftjs/nola';
import { heldBases } from '../../../packages/nola/src/bases.js';
import { combine, project } from '../../../packages/nola/src/math.js';
import { logitsOf, mergedParameter } from '../adapted.js';
import { feedsOf, masked, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { createChecks } from '../checks.js';
import { optimizerOf, type TorchOptimizer } from '../optimizers.js';
import { adapterOf, planned, slopesAt, stepsOf, type Trained, trainedLogits } from '../trained.js';

type Named = ReadonlyMap<string, Tensor>;

interface NolaRecord extends CaseRecord {
  readonly variant: string;
  readonly config: {
    readonly scaling: number;
    readonly r: number;
    readonly alpha: number;
    readonly num_basis: number;
    readonly targets: string[];
    readonly optimizer?: TorchOptimizer & { readonly steps: number };
  };
}

const letters: Readonly<Record<string, string>> = { A0: 'a0', basis_A: 'basisA', basis_B: 'basisB' };

/** `<module>.basis_A` of a case as a name in a graph. */
function graphName(name: string): string {
  const dot = name.lastIndexOf('.');
  const own = name.slice(dot + 1);
  return `${name.slice(0, dot)}:${letters[own] ?? own}`;
}

const floats = (tensor: Tensor | undefined): Float32Array => tensor!.data as Float32Array;

/** The factors of a target, as the method makes them before a step. */
function factorsOf({ plan, start }: Trained, train: Named, path: string): Params<Tensor> {
  const { target, c } = plan.sites.find((site) => site.target.path === path)!;
  const all = [...start.frozen, ...train].flatMap(([name, tensor]) =>
    name.startsWith(`${path}:`) ? [[name.slice(path.length + 1), tensor] as const] : [],
  );
  return plan.method.stream!.expand({ target, c, p: Object.fromEntries(all) });
}

/** The method saving its factors: the bases of a case come from no seed of ours. */
function withFactors(trained: Trained): Trained {
  const { plan } = trained;
  const method: Method = {
    ...plan.method,
    toDelta(site) {
      const { a, b } = plan.method.stream!.expand(site);
      const { alpha, r } = site.c as { alpha: number; r: number };
      return { weight: lowRankTerm({ a: tensorRef(a!), b: tensorRef(b!) }, { scale: alpha / r }) };
    },
  };
  return { ...trained, plan: { ...plan, method } };
}

/** Coefficients of one layer under a mean squared error, at the starts of the case. */
async function deadStart(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const { config } = folder.record as NolaRecord;
  const checks = createChecks(folder, { relToMax: 1e-5 }); // no tolerance is given: sums of 40 products
  const input = (name: string) => folder.inputs.get(name)!;
  const [basisA, basisB] = [heldBases(input('basis_A')), heldBases(input('basis_B'))];
  const k = basisA.count;
  const zero = new Float32Array(k);
  const starts = {
    without_A0: { alpha: zero },
    with_A0: { alpha: zero, a0: floats(input('A0')) },
    random_alpha: { alpha: Float32Array.from({ length: k }, (_, i) => 0.1 * (i + 1)) },
  };
  for (const [name, { alpha, ...rest }] of Object.entries(starts)) {
    const graph = createGraph('layer');
    const ops = createOps(graph);
    const a = ops.input('a', 'f32', input('basis_A').shape.slice(1));
    const b = ops.input('b', 'f32', input('basis_B').shape.slice(1));
    const w = ops.add(ops.constant(input('W')), ops.mul(ops.matmul(b, a), config.scaling));
    const error = ops.sub(ops.gemm(ops.constant(input('x')), w, undefined, { transB: true }), ops.constant(input('y')));
    const loss = ops.mean(ops.mul(error, error), [0, 1], { keepdims: false });
    for (const [i, g] of gradients(graph, loss, [a, b]).entries()) ops.output(g, i === 0 ? 'da' : 'db');
    const program = await backend.compile(graph);
    const A = combine(basisA, alpha, 'a0' in rest ? rest.a0 : undefined);
    const slopes = await program.run({
      a: f32(a.shape as number[], A),
      b: f32(b.shape as number[], combine(basisB, zero)),
    });
    await program.dispose();
    checks.tensor(`${name}/grad_alpha`, f32([k], project(basisA, floats(slopes.da))));
    checks.tensor(`${name}/grad_beta`, f32([k], project(basisB, floats(slopes.db))));
  }
  checks.done();
}

/** NOLA: gradients of the coefficients, updates, and the factors as PEFT loads them. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const record = folder.record as NolaRecord;
  const { optimizer } = record.config;
  if (!optimizer) return deadStart(folder, context);
  const { backend } = context;
  const { inputs, expected } = folder;
  const { r, alpha, num_basis: bases, targets: targetModules } = record.config;
  const base = await openBase(folder);
  const feeds = feedsOf(base, inputs);
  const bound = nola({ r, alpha, bases, targetModules, variant: record.variant.includes('ViT') ? 'vit' : 'language' });
  const given = new Map(
    [...inputs].flatMap(([name, tensor]) =>
      name.startsWith('start/') ? [[graphName(name.slice('start/'.length)), tensor] as const] : [],
    ),
  );
  const trained = withFactors(await planned(base, bound, given));
  const checks = createChecks(folder);
  for (const name of given.keys())
    if (!trained.start.train.has(name) && !trained.start.frozen.has(name)) checks.problem(`nothing takes "${name}"`);
  const logits = (name: string, got: Tensor, like?: string) =>
    checks.tensor(name, masked(got, expected.get(name)!, inputs.get('attention_mask')), like);
  const under = (prefix: string) =>
    [...expected.keys()].flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));

  const begin = trained.start.train;
  logits('logits/base', await logitsOf(base, [], feeds, backend));
  logits('logits/start', await trainedLogits(trained, begin, feeds, backend));
  const first = await slopesAt(trained, begin, feeds, backend);
  checks.tensor('loss/start', f32([], [first.loss]));
  for (const name of under('grad/')) checks.tensor(`grad/${name}`, first.gradients.get(graphName(name)));

  const losses: number[] = [];
  let end: Named = begin;
  const recipe = { lr: optimizer.lr, steps: optimizer.steps, optimizer: optimizerOf(optimizer) };
  for await (const { loss, train } of stepsOf(trained, recipe, feeds, backend)) {
    losses.push(loss);
    end = train;
  }
  losses.push((await slopesAt(trained, end, feeds, backend)).loss);
  checks.tensor('loss/steps', f32([losses.length], losses));
  for (const name of under('final/')) checks.tensor(`final/${name}`, end.get(graphName(name)));
  for (const path of under('A/')) checks.tensor(`A/${path}`, factorsOf(trained, end, path).a);
  for (const path of under('B/')) checks.tensor(`B/${path}`, factorsOf(trained, end, path).b);

  const adapter = await adapterOf(trained, end);
  logits('logits/end', await logitsOf(base, [adapter], feeds, backend));
  for (const path of under('merged/')) checks.tensor(`merged/${path}`, await mergedParameter(base, [adapter], path));
  const out = await mkdtemp(join(tmpdir(), 'peftjs-nola-'));
  await writeAdapter(out, adapter, { layout: 'LORA' });
  const { parameters, targets } = base.model;
  const read = await readAdapter(out, { base: { parameters, targets }, warn: () => {} });
  logits('logits/export_lora_in_peft', await logitsOf(base, [read], feeds, backend), 'logits/end');
  await rm(out, { recursive: true });
  checks.done();
}
