import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  applyAdapter,
  bindMethod,
  f32,
  maskTerm,
  type Params,
  packMask,
  readAdapter,
  startTensors,
  type Tensor,
  writeAdapter,
} from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import { type DseeSettings, dsee, pruningScores, weakest } from '@peftjs/dsee';
import { prunedParameters } from '@peftjs/models';
import { compare } from '@peftjs/testkit';
import { nextStart } from '../../packages/core/src/train/next-phase.js';
import { logitsOf, mergedParameter } from './adapted.js';
import { feedsOf, masked, openBase } from './base.js';
import { type CaseFolder, type CaseRecord, type RunContext, readTensors } from './case.js';
import { type Checks, createChecks } from './checks.js';
import { optimizerOf, type TorchOptimizer } from './optimizers.js';
import { adapterOf, slopesAt, stepsOf, type Trained, trainedLogits } from './trained.js';

export interface DseeRecord extends CaseRecord {
  readonly config: {
    readonly r: number;
    readonly alpha: number;
    readonly targets: readonly string[];
    readonly num_sparse: number;
    readonly optimizer: TorchOptimizer & { readonly steps: readonly [number, number] };
    readonly pruning_ratio: number;
    readonly ad_pruning_ratio: number;
    readonly prune_mode: string;
    readonly prune_heads_per_layer: number;
  };
  readonly heads_removed: readonly (readonly number[])[];
}

type Named = ReadonlyMap<string, Tensor>;

/** Letters of the method, as the case writes them. */
const letters = { u: 'U', v: 'V', s2: 'val' } as const;

/** Importances by their names in the case. */
const importances: Readonly<Record<string, DseeSettings['importance']>> = {
  ABS: 'ABS',
  W: 'W',
  WABS_scaled: 'WABS',
  WABS_official: 'WABS-released',
};

/** The method on the base, with the entries and the start of the case. */
async function planned({ record, inputs }: CaseFolder<DseeRecord>, base: Trained['base']): Promise<Trained> {
  const { r, alpha, num_sparse, pruning_ratio, ad_pruning_ratio, prune_mode } = record.config;
  const { targets, parameters } = base.model;
  const bound = dsee({
    r,
    alpha,
    entries: num_sparse,
    ratio: pruning_ratio,
    updatedRatio: ad_pruning_ratio,
    importance: importances[prune_mode]!,
    modulesToSave: ['classifier'],
  });
  const plan = bindMethod(bound, { targets, parameters });
  const sites = plan.sites.map((site) => {
    const indices = inputs.get(`start/${site.target.path}.indices`);
    const given: Params<Tensor> = indices ? { indices: asI64(indices) } : {};
    return { ...site, given };
  });
  const settled = { ...plan, sites };
  const own = await startTensors(settled, { seed: 0, parameters });
  const train = new Map(
    [...own.train].map(([name, tensor]) => [name, inputs.get(`start/${caseName(name)}`) ?? tensor]),
  );
  return { base, bound, plan: settled, start: { ...own, train } };
}

const added = (a: Named, b: Named): Named =>
  new Map(
    [...a].map(([name, { shape, data }]) => [
      name,
      f32(
        shape,
        Array.from(data as Float32Array, (x, i) => x + Number(b.get(name)!.data[i])),
      ),
    ]),
  );

const asI64 = ({ data, shape }: Tensor): Tensor => ({
  dtype: 'i64',
  shape,
  data: BigInt64Array.from(data as Int32Array, BigInt),
});

const caseName = (name: string): string => {
  const [path, letter] = name.split(':');
  return letter ? `${path}.${letters[letter as keyof typeof letters]}` : path!;
};

function compareAll(checks: Checks, prefix: string, tensors: Named): void {
  for (const [name, tensor] of tensors) checks.tensor(`${prefix}/${caseName(name)}`, tensor);
}

/** Masks are the same or not. */
function compareMasks(checks: Checks, prefix: string, expected: Named, masks: Named): void {
  for (const [path, mask] of masks) {
    const name = `${prefix}/${path}`;
    const wanted = expected.get(name);
    if (!wanted) continue;
    checks.leave((open) => open === name);
    const wrong = Array.from(mask.data, Number).filter((bit, i) => bit !== Number(wanted.data[i])).length;
    if (wrong > 0) checks.problem(`${name}: ${wrong} of ${mask.data.length} entries differ`);
  }
}

/** An adapter written for PEFT has the tensors of the case's own file. */
async function compareExport(checks: Checks, folder: string, adapter: Adapter): Promise<void> {
  const out = await mkdtemp(join(tmpdir(), 'peftjs-goldens-'));
  try {
    await writeAdapter(out, adapter, { layout: 'SUPERTUNING' });
    const [got, expected] = await Promise.all(
      [out, folder].map((path) => readTensors(path, 'adapter_model.safetensors')),
    );
    for (const [name, tensor] of expected!) {
      const own = got!.get(name);
      // 2.5e-4: what the case allows for trained tensors.
      const { close, message } = own
        ? compare(own, tensor, { relToMax: 2.5e-4 })
        : { close: false, message: 'missing' };
      if (!close) checks.problem(`the export's ${name}: ${message}`);
    }
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

/** Terms of an adapter behind the masks of the base that it was made for. */
const onMasked = (adapter: Adapter, masks: Named): Adapter => ({
  ...adapter,
  delta: {
    shape: new Map([
      ...adapter.delta.shape,
      ...[...masks].map(([path, { shape }]) => [`${path}.weight`, shape] as const),
    ]),
    params: new Map(
      [...masks].map(([path, { data }]) => [
        `${path}.weight`,
        [maskTerm(packMask(data as Uint8Array)), ...(adapter.delta.params.get(`${path}.weight`) ?? [])],
      ]),
    ),
  },
});

/** The scores of all heads, and the model without the lowest of each layer. */
async function compareHeads(
  checks: Checks,
  folder: CaseFolder<DseeRecord>,
  base: Trained['base'],
  adapter: Adapter,
  use: (smaller: Trained['base']) => Promise<void>,
): Promise<void> {
  const { record, root } = folder;
  const { model } = base;
  const scores = await pruningScores(adapter, model);
  // The case sums |U V + S₂|, without the scale that all of ΔW has.
  const s = record.config.alpha / record.config.r;
  const heads = [...scores.values()].map((own) => own.heads.map((score) => score / s));
  checks.tensor('head_scores', f32([heads.length, heads[0]!.length], heads.flat()));
  const removed = weakest(scores, { heads: record.config.prune_heads_per_layer });
  const lowest = [...removed.values()].map((own) => own.heads);
  if (JSON.stringify(lowest) !== JSON.stringify(record.heads_removed))
    checks.problem(`heads ${JSON.stringify(lowest)} are the lowest, expected ${JSON.stringify(record.heads_removed)}`);
  const { parameters } = applyAdapter(model.parameters, adapter);
  const out = await mkdtemp(join(tmpdir(), 'peftjs-goldens-'));
  try {
    const pruned = prunedParameters({ targets: model.targets, parameters }, removed);
    await writeSafetensors(join(out, 'model.safetensors'), pruned);
    await copyFile(join(root, record.base!.path, 'config.json'), join(out, 'config.json'));
    await use(await openBase({ ...folder, root: out, record: { ...record, base: { ...record.base!, path: '.' } } }));
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

/** Both phases of a run: forward, gradients, updates, masks, and the adapters of their ends. */
export async function runTraining(folder: CaseFolder<DseeRecord>, { backend }: RunContext): Promise<void> {
  const { config } = folder.record;
  const { inputs, expected } = folder;
  const base = await openBase(folder);
  const feeds = feedsOf(base, inputs);
  const first = await planned(folder, base);
  const checks = createChecks(folder);
  const mask = inputs.get('attention_mask');
  const logits = (name: string, got: Tensor, like?: string) =>
    checks.tensor(name, masked(got, expected.get(name)!, mask), like);
  const recipe = (phase: 0 | 1) => ({
    lr: config.optimizer.lr,
    steps: config.optimizer.steps[phase],
    optimizer: optimizerOf(config.optimizer),
    weightDecay: config.optimizer.weight_decay ?? 0,
  });
  /** Trains a phase: compares the loss before each update and after the last; where the last began, and what it left. */
  async function phase(number: 0 | 1, trained: Trained): Promise<{ readonly before: Named; readonly end: Named }> {
    const losses: number[] = [];
    let [before, end] = [trained.start.train, trained.start.train];
    for await (const { loss, train } of stepsOf(trained, recipe(number), feeds, backend)) {
      losses.push(loss);
      [before, end] = [end, train];
    }
    losses.push((await slopesAt(trained, end, feeds, backend)).loss);
    checks.tensor(`loss/phase${number + 1}`, f32([losses.length], losses));
    return { before, end };
  }

  logits('logits/base', await logitsOf(base, [], feeds, backend));
  logits('logits/start', await trainedLogits(first, first.start.train, feeds, backend));
  const start = await slopesAt(first, first.start.train, feeds, backend);
  checks.tensor('loss/start', f32([], [start.loss]));
  compareAll(checks, 'grad', start.gradients);
  const { before, end: middle } = await phase(0, first);
  compareAll(checks, 'phase1', middle);
  const unmasked = await adapterOf(first, middle);
  logits('logits/phase1_end', await logitsOf(base, [unmasked], feeds, backend));

  await compareHeads(checks, folder, base, unmasked, async (smaller) =>
    logits('logits/heads_removed', await logitsOf(smaller, [], feeds, backend)),
  );
  const exported = (name: string) =>
    readAdapter(join(folder.path, name), {
      base: { parameters: base.model.parameters, targets: base.model.targets },
      warn: () => {},
    });
  const loaded = await logitsOf(base, [await exported('export_supertuning_phase1')], feeds, backend);
  logits('logits/export_supertuning_phase1_in_peft', loaded, 'logits/phase1_end');
  await compareExport(checks, join(folder.path, 'export_supertuning_phase1'), unmasked);

  const second = { ...first, start: await pruned(first, middle) };
  const s1 = masksIn(second);
  compareMasks(checks, 'S1', expected, s1);
  for (const [name, importance] of Object.entries(importances))
    compareMasks(checks, `S1_${name}`, expected, masksIn({ start: await pruned(by(first, importance), middle) }));

  logits('logits/masked_start', await trainedLogits(second, second.start.train, feeds, backend));
  // The case's gradients lie on top of those of the update before, which nothing had cleared there.
  const fresh = await slopesAt(second, second.start.train, feeds, backend);
  const left = await slopesAt(first, before, feeds, backend);
  compareAll(checks, 'grad_masked', added(fresh.gradients, left.gradients));
  const { end } = await phase(1, second);
  compareAll(checks, 'final', end);
  const adapter = await adapterOf(second, end);
  logits('logits/end', await logitsOf(base, [adapter], feeds, backend));
  for (const name of expected.keys())
    if (name.startsWith('effective/'))
      checks.tensor(name, await mergedParameter(base, [adapter], name.slice('effective/'.length)));
  const last = onMasked(await exported('export_supertuning_end'), s1);
  logits('logits/end', await logitsOf(base, [last], feeds, backend));
  checks.done();
}

/** Where the second phase begins. */
const pruned = ({ plan, start, base }: Trained, train: Named) =>
  nextStart({ plan } as Prepared, base.model as never, {
    phase: 1,
    start,
    train,
    held: new Map(),
    kept: new Map(),
    seed: 0,
  });

type Prepared = Parameters<typeof nextStart>[0];

/** The same with another importance. */
const by = (trained: Trained, importance: DseeSettings['importance']): Trained => ({
  ...trained,
  plan: {
    ...trained.plan,
    sites: trained.plan.sites.map((site) => ({ ...site, c: { ...(site.c as DseeSettings), importance } })),
  },
});

/** S₁ by the path of its target. */
const masksIn = ({ start }: Pick<Trained, 'start'>): Named =>
  new Map([...start.frozen].flatMap(([name, t]) => (name.endsWith(':s1') ? [[name.slice(0, -':s1'.length), t]] : [])));
