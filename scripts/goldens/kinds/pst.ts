import { type Clock, f32, methodInputs, type Tensor } from '@peftjs/core';
import { pst } from '@peftjs/pst';
import { logitsOf, mergedParameter } from '../adapted.js';
import { feedsOf, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { createChecks } from '../checks.js';
import { runOf, type TorchOptimizer } from '../optimizers.js';
import { adapterOf, planned, slopesAt, stepsOf, type Trained, trainedLogits } from '../trained.js';

interface PstRecord extends CaseRecord {
  readonly config: {
    readonly targets: readonly string[];
    readonly weight_rank: number;
    readonly mask_rank: number;
    readonly beta: number;
    readonly alpha1: number;
    readonly alpha2: number;
    readonly optimizer: TorchOptimizer & { readonly steps: number };
    readonly sparsity_schedule: {
      readonly initial: number;
      readonly final: number;
      readonly initial_warmup: number;
      readonly final_warmup: number;
      readonly values: readonly number[];
    };
  };
}

/** `path.U` of a case -> `path:u` of a graph. */
const graphName = (name: string): string =>
  name.replace(/\.([UVABRC])$/, (_, letter: string) => `:${letter.toLowerCase()}`);

/** The case's names of trained tensors, and theirs in a graph. */
const namesUnder = (prefix: string, tensors: ReadonlyMap<string, Tensor>) =>
  [...tensors.keys()]
    .filter((name) => name.startsWith(prefix))
    .map((name) => [name, graphName(name.slice(prefix.length))] as const);

/** The method with one sparsity at every update. */
const withSparsity = (trained: Trained, sparsity: number): Trained => ({
  ...trained,
  plan: { ...trained.plan, method: { ...trained.plan.method, scalars: () => ({ sparsity }) } },
});

/** PST: straight-through gradients, the growing sparsity, the mask and the masked weights. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const { config } = folder.record as PstRecord;
  const { sparsity_schedule: schedule, optimizer } = config;
  const { inputs, expected } = folder;
  const base = await openBase(folder);
  const feeds = feedsOf(base, inputs);
  const bound = pst({
    targetModules: [...config.targets],
    r: config.weight_rank,
    scoreRank: config.mask_rank,
    beta: config.beta,
    alpha1: config.alpha1,
    alpha2: config.alpha2,
    sparsity: schedule.final,
    initialSparsity: schedule.initial,
    initialWarmup: schedule.initial_warmup,
    finalWarmup: schedule.final_warmup,
  });
  const given = new Map(namesUnder('start/', inputs).map(([name, own]) => [own, inputs.get(name)!]));
  const trained = await planned(base, bound, given);
  const checks = createChecks(folder);

  checks.tensor('logits/base', await logitsOf(base, [], feeds, backend));
  const quarter = withSparsity(trained, 0.25);
  checks.tensor('logits/start', await trainedLogits(quarter, trained.start.train, feeds, backend));
  const first = await slopesAt(quarter, trained.start.train, feeds, backend);
  checks.tensor('loss/start', f32([], [first.loss]));
  for (const [name, own] of namesUnder('grad/', expected)) checks.tensor(name, first.gradients.get(own));

  const total = optimizer.steps;
  const clock = (step: number): Clock => ({ step, total, phase: 0, phaseStep: step, phaseTotal: total });
  const sparsityAt = (step: number) =>
    Number(methodInputs(trained.plan, trained.start.held, clock(step))['method:sparsity']!.data[0]);
  schedule.values.forEach((value, t) => {
    // 1e-7: the sparsity is fed as float32.
    if (Math.abs(sparsityAt(t + 1) - value) > 1e-7)
      checks.problem(`sparsity of update ${t}: ${sparsityAt(t + 1)}, expected ${value}`);
  });

  const recipe = { ...runOf(optimizer), steps: total };
  const losses: number[] = [];
  let end = trained.start.train;
  for await (const { loss, train } of stepsOf(trained, recipe, feeds, backend)) {
    losses.push(loss);
    end = train;
    if (losses.length !== 10) continue;
    const tenth = await slopesAt(withSparsity(trained, sparsityAt(11)), train, feeds, backend);
    for (const [name, own] of namesUnder('grad_step10/', expected)) checks.tensor(name, tenth.gradients.get(own));
  }
  const last = withSparsity(trained, schedule.final);
  losses.push((await slopesAt(last, end, feeds, backend)).loss);
  checks.tensor('loss/steps', f32([losses.length], losses));
  for (const [name, own] of namesUnder('final/', expected)) checks.tensor(name, end.get(own));

  const adapter = await adapterOf(trained, end);
  for (const path of config.targets) {
    const bits = await adapter.delta.params.get(`${path}.weight`)![1]!.tensors.bits!.read();
    const wanted = expected.get(`mask_end/${path}`)!;
    const differ = [...wanted.data].filter((keep, i) => ((Number(bits.data[i >> 3]) >> (i & 7)) & 1) !== Number(keep));
    if (differ.length > 0) checks.problem(`mask_end/${path}: ${differ.length} of ${wanted.data.length} differ`);
  }
  checks.leave((name) => name.startsWith('mask_end/'));
  for (const name of expected.keys())
    if (name.startsWith('merged/'))
      checks.tensor(name, await mergedParameter(base, [adapter], name.slice('merged/'.length)));
  checks.tensor('logits/end', await logitsOf(base, [adapter], feeds, backend));
  checks.done();
}
