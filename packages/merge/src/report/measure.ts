import { createRun, elementCount, type Run } from '@peftjs/core';
import { wholeModels } from '../engine/arrangement.js';
import { reportsOf } from '../engine/channel.js';
import type { MergeEvent } from '../engine/events.js';
import { distinctNames, weighted } from '../engine/merge.js';
import type { MergeOptions, WeightedSource } from '../engine/options.js';
import { prepare, type Request } from '../engine/prepare.js';
import { nameOf, type Source } from '../engine/sources.js';
import { changedName, conflictsName, dotName, interference, sharedName } from './interference.js';

/** How the task vectors of several models lie to each other, over one tensor or over all. */
export interface Interference {
  /** Number of elements. */
  readonly count: number;
  /** ‖τ‖₂ of each model. */
  readonly norms: readonly number[];
  /** Share of the elements that each model changes. */
  readonly densities: readonly number[];
  /** Cosine of each pair; null where one changes nothing. */
  readonly cosines: readonly (readonly (number | null)[])[];
  /** Share of the elements that more than one model changes. */
  readonly shared: number;
  /** Share of those that models change in opposite directions. */
  readonly conflicts: number;
}

export interface InterferenceReport {
  readonly models: readonly string[];
  readonly total: Interference;
  readonly tensors: readonly (Interference & { readonly tensor: string; readonly shape: readonly number[] })[];
}

type Numbers = Readonly<Record<string, number>>;

function describe(n: Numbers, count: number, models: number): Interference {
  const each = Array.from({ length: models }, (_, i) => i);
  const dot = (i: number, j: number) => n[dotName(Math.min(i, j), Math.max(i, j))]!;
  const norms = each.map((i) => Math.sqrt(dot(i, i)));
  const cosine = (i: number, j: number) => {
    const product = norms[i]! * norms[j]!;
    return product > 0 ? Math.min(1, Math.max(-1, dot(i, j) / product)) : null;
  };
  return {
    count,
    norms,
    densities: each.map((i) => (count > 0 ? n[changedName(i)]! / count : 0)),
    cosines: each.map((i) => each.map((j) => cosine(i, j))),
    shared: count > 0 ? n[sharedName]! / count : 0,
    conflicts: n[sharedName]! > 0 ? n[conflictsName]! / n[sharedName]! : 0,
  };
}

/**
 * Measures, before a merge, how much its models get in each other's way: norms, densities and cosines of their task
 * vectors and how often signs disagree, tensor by tensor. Constant memory, one pass.
 * @throws PeftError as `merge`
 */
export function measureInterference(
  inputs: readonly (Source | WeightedSource)[],
  options: Pick<MergeOptions, 'base' | 'threads' | 'signal' | 'kinds' | 'layouts'> = {},
): Run<MergeEvent, InterferenceReport> {
  const sources = inputs.map(weighted);
  const names = distinctNames(sources.map(({ input, name }, i) => name ?? nameOf(input, i)));
  const request: Request = {
    ...options,
    bound: { merge: interference.merge as unknown as Request['bound']['merge'], config: {} },
    sources: sources.map(({ input }, i) => ({ input, name: names[i]! })),
    arrangement: (hasBase) =>
      wholeModels(
        names.map(() => ({})),
        hasBase,
      ),
    record: undefined,
  };
  const work = async (emit: (event: MergeEvent) => void, signal: AbortSignal): Promise<InterferenceReport> => {
    const prepared = await prepare(request, { differenceOf: () => false, inMemory: () => false }, emit, signal);
    const planned = prepared.plan.tasks.filter(({ kind }) => kind === 'merge');
    const found = new Map<string, Numbers>();
    await prepared.perform(
      planned.map(({ dtype, ...task }) => ({ ...task, kind: 'stats', target: { to: 'memory', dtype } })),
      ({ tensor }, { stats }) => found.set(tensor, stats!.numbers),
    );
    const sums: Record<string, number> = {};
    for (const { tensor } of planned)
      for (const [key, value] of Object.entries(found.get(tensor)!)) sums[key] = (sums[key] ?? 0) + value;
    const tensors = planned.map(({ tensor, shape }) => ({
      tensor,
      shape,
      ...describe(found.get(tensor)!, elementCount(shape), names.length),
    }));
    const count = tensors.reduce((sum, own) => sum + own.count, 0);
    return { models: names, total: describe(sums, count, names.length), tensors };
  };
  return createRun<MergeEvent, InterferenceReport>((signal) => reportsOf(signal, work), options.signal);
}
