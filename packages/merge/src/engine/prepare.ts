import { type Adapter, builtinKinds, builtinLayouts, commonBase, PeftError, Problems } from '@peftjs/core';
import { platform } from '#platform';
import type { BoundMerge } from '../define.js';
import type { Arrangement } from './arrangement.js';
import { builtinMerges, internalMerges } from './builtin.js';
import { estimateBytes } from './estimate.js';
import type { MergeEvent } from './events.js';
import { type Executor, localExecutor } from './execute.js';
import type { MergeOptions } from './options.js';
import { type Plan, planMerge, sizeOfPlan } from './plan.js';
import { performAll } from './rounds.js';
import { type OpenContext, type Opened, openSource, type Source } from './sources.js';
import type { Finished, Task } from './task.js';
import { checkVocabularies } from './vocabulary.js';

/** A merge with everything decided but the arrangement of tensors. */
export interface Request extends MergeOptions {
  readonly bound: BoundMerge;
  readonly sources: readonly { readonly input: Source; readonly name: string }[];
  readonly arrangement: (hasBase: boolean) => Arrangement;
  /** The directory whose tokenizer goes with the result, where it is not the base's. */
  readonly tokenizer?: string;
  /** What is recorded beside the result. */
  readonly record: unknown;
}

export type Emit = (event: MergeEvent) => void;

/** Below this many numbers threads cost more than they bring, unless they are asked for. */
const worthThreads = 2 ** 22;

const mostThreads = 4;

const isCloneable = (value: unknown): boolean => {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
};

/** Other threads know the methods of this package only; all others are computed here. */
function threadsFor({ bound: { merge, config }, threads }: Request, plan: Plan): number {
  const known = (builtinMerges.get(merge.name) ?? internalMerges.get(merge.name))?.merge as unknown;
  const able = platform.startThreads && known === merge && isCloneable(config);
  if (!able) return 0;
  const few = sizeOfPlan(plan).parameters < worthThreads;
  const wanted = threads ?? (few ? 0 : Math.min(platform.processors, mostThreads));
  return Math.min(wanted, merge.whole ? 1 : plan.tasks.length);
}

async function open(request: Request, context: OpenContext) {
  const problems = new Problems();
  const base = request.base === undefined ? undefined : await openSource(request.base, undefined, context);
  if (base?.update) throw new PeftError('CONFIG_INVALID', 'The base is an adapter or a delta; it must be a model.');
  const parameters = base && new Map([...base.tensors].map(([name, { ref }]) => [name, ref!]));
  const models: Opened[] = [];
  for (const { input } of request.sources) models.push(await openSource(input, parameters, context));
  const all = [
    { id: 'the base', opened: base },
    ...models.map((opened, i) => ({ id: request.sources[i]!.name, opened })),
  ];
  const placed = all.flatMap(({ id, opened }) => (opened?.directory ? [{ id, directory: opened.directory }] : []));
  if (context.files) await checkVocabularies(context.files, placed, problems);
  const said = commonBase(models);
  return { base, models, madeFor: models.every(({ update }) => update) ? said : undefined, problems };
}

/** What a merge will do, and the means to do it. */
export interface Prepared {
  readonly plan: Plan;
  readonly base: Opened | undefined;
  readonly models: readonly Opened[];
  /** The base that the inputs say they were made for, where all of them are updates. */
  readonly madeFor: Adapter['base'];
  /** All inputs are updates, and there is no base. */
  readonly alone: boolean;
  perform(tasks: readonly Task[], keep?: (task: Task, outcome: Finished) => void): Promise<void>;
}

export interface PrepareOptions {
  /** What the result will be: it may depend on whether there are only updates. */
  readonly differenceOf: (inputs: { readonly alone: boolean; readonly hasBase: boolean }) => boolean;
  readonly inMemory: (alone: boolean) => boolean;
}

/** Opens and checks the inputs and says what will be done, before anything is computed. */
export async function prepare(
  request: Request,
  { differenceOf, inMemory }: PrepareOptions,
  emit: Emit,
  signal: AbortSignal,
): Promise<Prepared> {
  const { bound, seed = 0, kinds = builtinKinds, layouts = builtinLayouts, outDtype } = request;
  const warn = (message: string) => emit({ type: 'warning', message });
  const { base, models, madeFor, problems } = await open(request, {
    files: platform.files,
    kinds,
    layouts,
    warn,
    signal,
  });
  const hasBase = base !== undefined;
  const alone = !hasBase && models.every(({ update }) => update);
  const difference = differenceOf({ alone, hasBase });
  const ids = request.sources.map(({ name }) => name);
  const arrangement = request.arrangement(hasBase);
  const plan = planMerge({ bound, arrangement, base, models, ids, outDtype, difference, seed, problems });
  const threads = threadsFor(request, plan);
  const size = sizeOfPlan(plan);
  const estimatedBytes = estimateBytes(bound.merge, plan.tasks, Math.max(1, threads), inMemory(alone));
  const tensors = plan.tasks.length;
  emit({ type: 'start', method: bound.merge.name, models: ids, tensors, ...size, threads, estimatedBytes });
  let [done, numbers] = [0, 0];
  return {
    plan,
    base,
    models,
    madeFor,
    alone,
    perform: (tasks, keep = () => {}) =>
      performing(request, threads, signal, tasks, (task, outcome) => {
        keep(task, outcome);
        for (const message of outcome.warnings) emit({ type: 'warning', message, tensor: task.tensor });
        numbers += task.shape.reduce((n, extent) => n * extent, 1);
        const share = size.parameters === 0 ? 1 : numbers / size.parameters;
        emit({ type: 'tensor', tensor: task.tensor, done: ++done, of: tensors, share });
      }),
  };
}

/** Performs tasks in threads or here; ends them when the run is left. */
async function performing(
  request: Request,
  threads: number,
  signal: AbortSignal,
  tasks: readonly Task[],
  onDone: (task: Task, outcome: Finished) => void,
): Promise<void> {
  const { merge } = request.bound;
  const executor: Executor = threads > 0 ? platform.startThreads!(threads) : localExecutor(platform.files);
  const stop = () => void executor.dispose();
  signal.addEventListener('abort', stop, { once: true });
  try {
    if (merge.whole) {
      const merged = tasks.filter(({ kind }) => kind !== 'copy');
      const outcomes = await executor.whole(merge, merged);
      outcomes.forEach((outcome, i) => {
        onDone(merged[i]!, outcome);
      });
      await performAll(
        executor,
        merge,
        tasks.filter(({ kind }) => kind === 'copy'),
        onDone,
      );
    } else await performAll(executor, merge, tasks, onDone);
  } catch (error) {
    if (signal.aborted) throw new PeftError('CANCELLED', 'The merge was ended.', { cause: signal.reason });
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    await executor.dispose();
  }
}
