import { defineMethod, type PhaseEnd, type PhaseStart, type Tensor, tensor } from '@peftjs/core';
import { type SftSettings, sft } from '@peftjs/sft';
import { feedsOf, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { checkIndices, trainCase } from '../case-run.js';
import { type Checks, createChecks } from '../checks.js';
import type { TorchOptimizer } from '../optimizers.js';
import { checkLogits, checkMerged, checkShira, checkSparse, lossOf, under, within } from '../sparse.js';
import { composes } from '../sparse-sums.js';

interface SftRecord extends CaseRecord {
  /** Missing where a case only composes. */
  readonly config?: {
    readonly maskable: readonly string[];
    readonly heads: readonly string[];
    readonly k_total: number;
    readonly iterations: number;
    readonly dense_steps: number;
    readonly sparse_steps: number;
    readonly l1_dense: number;
    readonly l1_sparse: number;
    readonly max_grad_norm: number;
    readonly optimizer: TorchOptimizer;
  };
}

const moduleOf = (path: string): string => path.slice(0, path.lastIndexOf('.'));
/** A change of phase as the method sees and answers it. */
interface Turn {
  readonly end: PhaseEnd<SftSettings>;
  readonly start: PhaseStart;
}

/** The change of a parameter in the full phase that ends. */
const changeOf = ({ end }: Turn, path: string): Tensor | undefined =>
  end.sites.find(({ target }) => target.path === moduleOf(path))?.p.weight;

/** Indices of a parameter that are trained from here on. */
const chosenBy = ({ start }: Turn, path: string): number[] =>
  Array.from((start.sites.get(moduleOf(path))?.frozen?.['weight.indices']?.data ?? []) as BigInt64Array, Number);

/** What every full phase moves, and what is chosen of it. */
function checkTurns(folder: CaseFolder, checks: Checks, turns: readonly Turn[], maskable: readonly string[]): void {
  const selections = turns.filter(({ end }) => end.phase % 2 === 1);
  const before = new Set<string>();
  selections.forEach((turn, iteration) => {
    for (const path of under(folder, `dense_delta_${iteration}/`))
      checks.tensor(`dense_delta_${iteration}/${path}`, changeOf(turn, path));
    for (const path of under(folder, `selected_${iteration}/`)) {
      const fresh = chosenBy(turn, path).filter((index) => !before.has(`${path} ${index}`));
      checkIndices(folder, checks, `selected_${iteration}/${path}`, fresh);
    }
    const isLast = iteration === selections.length - 1;
    if (isLast) checks.tensor('moved/sorted_top', largestMoves(folder, turn, maskable, before));
    for (const path of maskable) for (const index of chosenBy(turn, path)) before.add(`${path} ${index}`);
  });
}

/** The largest changes of the last full phase among what was free to be chosen, in order. */
function largestMoves({ expected }: CaseFolder, turn: Turn, maskable: readonly string[], taken: ReadonlySet<string>) {
  const moves = maskable.flatMap((path) =>
    Array.from(changeOf(turn, path)!.data as Float32Array, (change, i) =>
      taken.has(`${path} ${i}`) ? 0 : Math.abs(change),
    ),
  );
  const { length } = expected.get('moved/sorted_top')!.data;
  const sorted = Float32Array.from(moves).sort().reverse().subarray(0, length);
  return tensor('f32', [length], sorted);
}

/** Selection and sparse training, or the composition of two results. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const { config } = folder.record as SftRecord;
  await (config ? trains(folder, config, context) : composes(folder, context));
}

async function trains(
  folder: CaseFolder,
  config: NonNullable<SftRecord['config']>,
  { backend }: RunContext,
): Promise<void> {
  const { maskable, heads, iterations, dense_steps, sparse_steps, optimizer } = config;
  const base = await openBase(folder);
  const turns: Turn[] = [];
  const watched = defineMethod({
    ...sft.method,
    async next(end) {
      const start = await sft.method.next!(end);
      turns.push({ end, start });
      return start;
    },
  });
  const method = watched({
    targetModules: maskable.map(moduleOf),
    modulesToSave: [...new Set(heads.map(moduleOf))],
    count: config.k_total,
    iterations,
    fullShare: dense_steps / (dense_steps + sparse_steps),
    fullL1: config.l1_dense,
    sparseL1: config.l1_sparse,
    biases: false,
  });
  const feeds = { dense: within(folder.inputs, 'dense/'), sparse: within(folder.inputs, 'sparse/') };
  const [dense, sparse] = [feedsOf(base, feeds.dense), feedsOf(base, feeds.sparse)];
  const each = dense_steps + sparse_steps;
  const { losses, adapter } = await trainCase(base, {
    method,
    backend,
    batches: (t) => (t % each < dense_steps ? dense : sparse),
    steps: iterations * each,
    lr: optimizer.lr,
    schedule: 'linear',
    maxGradNorm: config.max_grad_norm,
    optimizer: { ...optimizer, type: 'AdamW' },
  });

  const checks = createChecks(folder);
  const scene = { base, feeds: sparse, mask: feeds.sparse.get('attention_mask'), backend };
  await checkLogits(folder, checks, 'logits/base', { ...scene, adapters: [] });
  checkTurns(folder, checks, turns, maskable);
  const all = [...losses, await lossOf(base, adapter, sparse, backend)];
  checks.tensor('loss/steps', tensor('f32', [all.length], Float32Array.from(all)));
  await checkSparse(folder, checks, 'delta/', adapter);
  for (const path of under(folder, 'head/')) checks.tensor(`head/${path}`, await adapter.replaced.get(path)?.read());
  await checkMerged(folder, checks, base, [adapter]);
  await checkLogits(folder, checks, 'logits/end', { ...scene, adapters: [adapter] });
  await checkShira(folder, checks, scene, adapter);
  checks.done();
}
