import { type Adapter, attachDelta, f32, startTensors, type Tensor } from '@peftjs/core';
import { hft } from '@peftjs/layerwise';
import { logitsOf, planOf } from '../adapted.js';
import { feedsOf, masked, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { outputOf, trainCase } from '../case-run.js';
import { createChecks } from '../checks.js';
import type { TorchOptimizer } from '../optimizers.js';
import { under, within } from '../sparse.js';
import { slopesAt } from '../trained.js';

interface HftRecord extends CaseRecord {
  readonly config: {
    /** Parameters that each round trains. */
    readonly rounds: readonly (readonly string[])[];
    readonly optimizer: TorchOptimizer & { readonly steps: number };
  };
}

const moduleOf = (parameter: string): string => parameter.slice(0, parameter.lastIndexOf('.'));
const floats = (tensor: Tensor) => tensor.data as Float32Array;

/** Rounds of half fine-tuning with given choices: losses, changes and logits of each. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const { rounds, optimizer } = (folder.record as HftRecord).config;
  const { inputs, expected } = folder;
  const base = await openBase(folder);
  const { model } = base;
  const checks = createChecks(folder);
  const given = rounds.map((_, i) => within(inputs, `round${i}/`));
  const feeds = given.map((batch) => feedsOf(base, batch));
  const methodOf = (count: number) => hft({ selection: rounds.slice(0, count).map((own) => own.map(moduleOf)) });
  const logits = async (name: string, adapters: readonly Adapter[], round: number) => {
    const got = await logitsOf(base, adapters, feeds[round]!, backend);
    checks.tensor(name, masked(got, expected.get(name)!, given[round]!.get('attention_mask')));
  };
  const valueIn = async (adapter: Adapter | undefined, path: string) =>
    (await (adapter?.replaced.get(path) ?? model.parameters.get(path)!).read()) as Tensor;

  await logits('logits/base', [], 0);
  const bound = methodOf(1);
  const plan = await planOf(base, bound);
  const start = await startTensors(plan, { seed: 0, parameters: model.parameters });
  const first = await slopesAt({ base, bound, plan, start }, start.train, feeds[0]!, backend);
  for (const path of under(folder, 'grad/'))
    checks.tensor(`grad/${path}`, first.gradients.get(`${moduleOf(path)}:weight`));

  const { steps } = optimizer;
  let before: Adapter | undefined;
  for (const round of rounds.keys()) {
    const { losses, adapter } = await trainCase(base, {
      method: methodOf(round + 1),
      backend,
      batches: (t) => feeds[Math.floor(t / steps)]!,
      steps: steps * (round + 1),
      lr: optimizer.lr,
      schedule: 'constant',
      weightDecay: optimizer.weight_decay!,
      optimizer,
    });
    const form = await attachDelta(model.graph('train'), adapter, { parameters: model.parameters });
    const after = await outputOf(form, 'loss', feeds[round]!, backend);
    const own = [...losses.slice(-steps), floats(after)[0]!];
    checks.tensor(`loss/round${round}`, f32([own.length], own));
    await logits(`logits/round${round}`, [adapter], round);
    for (const path of under(folder, `delta_round${round}/`)) {
      const [now, old] = [await valueIn(adapter, path), await valueIn(before, path)];
      checks.tensor(
        `delta_round${round}/${path}`,
        f32(
          now.shape,
          floats(now).map((x, i) => x - floats(old)[i]!),
        ),
      );
    }
    const changed = [...new Set(rounds.slice(0, round + 1).flat())].sort();
    if (`${[...adapter.replaced.keys()].sort()}` !== `${changed}`)
      checks.problem(`round ${round} leaves ${[...adapter.replaced.keys()].sort()}, expected ${changed}`);
    before = adapter;
  }
  checks.done();
}
