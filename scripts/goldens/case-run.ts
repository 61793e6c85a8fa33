import { type Adapter, type Backend, type Bound, type Example, type TaskModel, type Tensor, train } from '@peftjs/core';
import { type Base, only } from './base.js';
import type { CaseFolder } from './case.js';
import type { Checks } from './checks.js';
import { optimizerOf, type TorchOptimizer } from './optimizers.js';

type Feeds = Readonly<Record<string, Tensor>>;

/** What a case's run is made of. */
export interface CaseRun {
  readonly method: Bound;
  readonly backend: Backend;
  /** The batch of update t, from 0. */
  readonly batches: (t: number) => Feeds;
  readonly steps: number;
  readonly lr: number;
  readonly schedule: 'constant' | 'linear';
  readonly weightDecay?: number;
  readonly maxGradNorm?: number;
  readonly optimizer?: TorchOptimizer;
}

export const labelsIn = ({ labels }: Feeds): number =>
  Array.from(labels!.data as BigInt64Array).filter((label) => label >= 0n).length;

/** Trains as `train` does, on the batches of a case instead of rows. */
export async function trainCase(
  { model }: Base,
  { method, optimizer, batches, ...options }: CaseRun,
): Promise<{ readonly losses: number[]; readonly penalties: number[]; readonly adapter: Adapter }> {
  let t = 0;
  const onBatches: TaskModel<Example> = {
    ...model,
    task: {
      ...model.task,
      encode: () => ({ length: 1 }),
      batch() {
        const feeds = batches(t++);
        return { feeds, labels: labelsIn(feeds), tokens: 0, rows: {} };
      },
    },
  };
  const given = optimizer ? { optimizer: optimizerOf(optimizer) } : {};
  const run = train(onBatches, { ...options, ...given, method, data: [{ row: 'of the case' }] });
  const losses: number[] = [];
  const penalties: number[] = [];
  for await (const event of run) {
    if (event.type !== 'step') continue;
    losses.push(event.loss);
    penalties.push(event.penalty ?? 0);
  }
  return { losses, penalties, adapter: await run.result() };
}

/** A whole run of a form of the model on feeds of a case. */
export async function outputOf(
  { graph }: ReturnType<Base['model']['graph']>,
  output: string,
  feeds: Feeds,
  backend: Backend,
): Promise<Tensor> {
  const program = await backend.compile(graph, { outputs: [output] });
  const outputs = await program.run(only(feeds, graph.inputs));
  await program.dispose();
  return outputs[output]!;
}

/** Compares integers one by one: a choice is right or wrong. */
export function checkIndices(
  { expected }: CaseFolder,
  checks: Checks,
  name: string,
  got: ArrayLike<number> | undefined,
): void {
  checks.leave((one) => one === name);
  const want = Array.from(expected.get(name)!.data as ArrayLike<number>, Number);
  const have = Array.from(got ?? []);
  const missing = want.filter((index) => !have.includes(index)).length;
  if (missing > 0 || have.length !== want.length)
    checks.problem(`${name}: ${have.length} indices, ${missing} of the ${want.length} expected are not among them`);
}
