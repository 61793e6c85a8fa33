import { join } from 'node:path';
import {
  type Adapter,
  type Bound,
  lowRank,
  lowRankTerm,
  negate,
  type Plan,
  startTensors,
  type Tensor,
  tensor,
  tensorName,
  tensorRef,
} from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { compare } from '@peftjs/testkit';
import {
  type Adapted,
  adapterOf,
  type CaseOptimizer,
  logitsOf,
  mergedParameter,
  openAdapter,
  planOf,
} from '../adapted.js';
import { feedsOf, masked, openBase } from '../base.js';
import { type CaseFolder, type CaseRecord, type RunContext, readTensors, type Tensors } from '../case.js';
import { createChecks } from '../checks.js';
import { lossAndGradients, trainSteps } from '../training.js';

interface MutatingRecord extends CaseRecord {
  readonly adapter_config: Readonly<Record<string, unknown>>;
  readonly optimizer: CaseOptimizer;
  /** How far the reference's float32 decomposition is from one in double precision. */
  readonly checks: { readonly delta_start_vs_float64_decomposition_max_rel: number };
}

const fileKey = (path: string, letter: string) => `base_model.model.${path}.lora_${letter.toUpperCase()}.weight`;

/** The trained factors by their keys in a file. */
const byFileKey = (plan: Plan, tensors: Tensors): Map<string, Tensor> =>
  new Map(
    plan.sites.flatMap(({ target: { path } }) =>
      ['a', 'b'].map((letter) => [fileKey(path, letter), tensors.get(tensorName(path, letter))!] as const),
    ),
  );

/** The factors as if they were all that is added: s B A. */
function alone(plan: Plan, tensors: Tensors): Adapter {
  const terms = plan.sites.map(({ target: { path, out, in: inside }, c }) => {
    const { r, alpha, rslora } = c as { r: number; alpha: number; rslora: boolean };
    const [a, b] = ['a', 'b'].map((letter) => tensorRef(tensors.get(tensorName(path, letter))!));
    const term = lowRankTerm({ a: a!, b: b! }, { scale: alpha / (rslora ? Math.sqrt(r) : r) });
    return { path: `${path}.weight`, term, shape: [out, inside] };
  });
  const params = new Map(terms.map(({ path, term }) => [path, [term]]));
  const shape = new Map(terms.map(({ path, shape }) => [path, shape]));
  return { delta: { shape, params }, replaced: new Map(), digest: 'alone' };
}

/** The given start in place of the own one: an own decomposition may differ by signs. */
function givenStart({ train, frozen, held }: Adapted['start'], plan: Plan, file: Tensors): Adapted['start'] {
  const own = (letter: string, as: string) =>
    plan.sites.map(({ target: { path } }) => [tensorName(path, as), file.get(fileKey(path, letter))!] as const);
  return {
    train: new Map([...train, ...own('a', 'a'), ...own('b', 'b')]),
    frozen: new Map([...frozen, ...own('a', 'a0'), ...own('b', 'b0')]),
    held,
  };
}

/** Starts that are a part of the base's weight: the own decomposition, then training and export from the given one. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const { adapter_config: config, optimizer, checks: measured } = folder.record as MutatingRecord;
  const base = await openBase(folder);
  const bound: Bound = lora(config as Parameters<typeof lora>[0]);
  const plan = await planOf(base, bound);
  const { parameters } = base.model;
  const own = await startTensors(plan, { seed: 0, parameters });
  const file = await readTensors(folder.path, 'adapter_start_raw', 'adapter_model.safetensors');
  const adapted: Adapted = { base, plan, start: givenStart(own, plan, file) };
  const checks = createChecks(folder);
  const feeds = feedsOf(base, folder.inputs);
  const mask = folder.inputs.get('attention_mask');
  const logits = async (name: string, adapters: readonly Adapter[], group = name) => {
    const got = await logitsOf(base, adapters, feeds, context.backend);
    checks.tensor(name, masked(got, folder.expected.get(name)!, mask), group);
  };
  const under = (prefix: string) =>
    [...folder.expected.keys()].flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
  const dense = async ({ delta }: Adapter, path: string) =>
    lowRank.dense(delta.params.get(path)![0]!, delta.shape.get(path)!);

  await logits('logits/base', []);
  const started = alone(plan, adapted.start.train);
  const found = alone(plan, own.train);
  for (const path of under('delta_start/')) {
    const given = await dense(started, path);
    checks.tensor(`delta_start/${path}`, given);
    // 2e-6: both are products of float32 factors.
    const relToMax = measured.delta_start_vs_float64_decomposition_max_rel + 2e-6;
    const { close, message } = compare(await dense(found, path), given, { relToMax });
    if (!close) checks.problem(`own decomposition of ${path}: ${message}`);
  }
  for (const path of under('residual/'))
    checks.tensor(`residual/${path}`, await mergedParameter(base, [negate(started)], path));

  await logits('logits/start', [await adapterOf(adapted, adapted.start.train)]);
  const start = await lossAndGradients(adapted, adapted.start.train, feeds, context);
  checks.tensor('loss/start', start.loss);
  for (const [key, slope] of byFileKey(plan, start.gradients)) checks.tensor(`grad/${key}`, slope);

  const { losses, trained } = await trainSteps(adapted, optimizer, feeds, context);
  const values = new Map([...adapted.start.train, ...trained]);
  const end = await lossAndGradients(adapted, values, feeds, context);
  const all = Float32Array.from([...losses, Number(end.loss.data[0])]);
  checks.tensor('loss/steps', tensor('f32', [all.length], all));
  for (const [key, factor] of byFileKey(plan, trained)) checks.tensor(`final/${key}`, factor);
  const ended = alone(plan, values);
  for (const path of under('delta_end/')) checks.tensor(`delta_end/${path}`, await dense(ended, path));
  const final = await adapterOf(adapted, trained);
  for (const path of under('merged/')) checks.tensor(`merged/${path}`, await mergedParameter(base, [final], path));
  await logits('logits/end', [final]);
  await logits('logits/end_adapter_disabled', [negate(started)]);
  const converted = await openAdapter(base, join(folder.path, 'adapter_end_converted'));
  await logits('logits/converted_on_untouched_base', [converted], 'logits/end');
  checks.done();
}
