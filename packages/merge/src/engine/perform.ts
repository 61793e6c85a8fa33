import { createRandom, PeftError } from '@peftjs/core';
import type { CombineContext, Merge, TensorContext } from '../define.js';
import { withForks } from '../draws.js';
import { requireFinite } from '../inputs.js';
import { floats, subtract } from '../kernels/index.js';
import type { Files } from '../platform/files.js';
import { type Chunks, chunksOf } from './chunks.js';
import { copyTensor } from './copy.js';
import { type Answers, type Asked, measure, type Reducers, resolveReducers } from './measure.js';
import { openFiles } from './read-operand.js';
import { openSink, requireStorable } from './target.js';
import type { Outcome, Progress, Task } from './task.js';

/** What a task's tensor is to the method, with the results of the rounds so far. */
export const contextOf = (task: Task, count: number, { stats }: Progress): TensorContext<unknown> => ({
  tensor: task.tensor,
  shape: task.shape,
  count,
  weights: task.weights,
  c: task.config,
  each: task.each,
  stats,
  rng: withForks(createRandom(task.seed).fork(task.tensor)),
  ids: task.ids,
});

/** The reducers of one round over one scope. */
export const inScope = (reducers: Reducers, scope: 'tensor' | 'model'): Reducers =>
  Object.fromEntries(Object.entries(reducers).filter(([, reducer]) => (reducer.scope ?? 'tensor') === scope));

async function withChunks<T>(merge: Merge, task: Task, files: Files | undefined, use: (chunks: Chunks) => Promise<T>) {
  const open = openFiles(files);
  try {
    return await use(chunksOf(merge, task, open));
  } finally {
    open.close();
  }
}

/** Rounds that this tensor can answer alone, until one asks for something over all tensors. */
async function advanceRounds(merge: Merge, task: Task, chunks: Chunks, from: Progress) {
  let progress = from;
  for (const round of merge.stats?.slice(from.round) ?? []) {
    const reducers = round(contextOf(task, chunks.count, progress));
    if (Object.keys(inScope(reducers, 'model')).length > 0) return { progress, paused: true };
    const found = await resolveReducers(reducers, chunks.count, (asked) => measure(chunks, reducers, asked, 0));
    progress = nextRound(progress, found);
  }
  return { progress, paused: false };
}

/** The results of one more round. */
export const nextRound = ({ round, stats }: Progress, found: Progress['stats']): Progress => ({
  round: round + 1,
  stats: {
    numbers: { ...stats.numbers, ...found.numbers },
    selections: { ...stats.selections, ...found.selections },
  },
});

function refuseNonFinite(task: Task, { tensor, offset, base, models }: CombineContext<unknown>): void {
  models.forEach((values, i) => {
    requireFinite(values, tensor, task.ids[i]!, offset);
  });
  if (base) requireFinite(base, tensor, 'the base', offset);
}

function difference(values: Float32Array, base: Float32Array): Float32Array {
  const out = floats(values.length);
  subtract(out, values, base);
  return out;
}

/** Goes on with a task as far as it goes: to its end, or to a round over all tensors. */
export async function perform(merge: Merge, task: Task, from: Progress, files?: Files): Promise<Outcome> {
  if (task.kind === 'copy') return copyTensor(task, files);
  return withChunks(merge, task, files, async (chunks): Promise<Outcome> => {
    const { progress, paused } = await advanceRounds(merge, task, chunks, from);
    if (paused) return { done: false, ...progress };
    if (task.kind === 'stats') return { done: true, warnings: [], stats: progress.stats };
    const warnings: string[] = [];
    const context = contextOf(task, chunks.count, progress);
    const sink = openSink(task.target, task.shape, files);
    try {
      await chunks.each((chunk) => {
        const full = { ...context, ...chunk, warn: (message: string) => warnings.push(message) };
        refuseNonFinite(task, full);
        const made = merge.combine!(full);
        if (made.length !== chunk.models[0]!.length)
          throw new PeftError('INTERNAL', `${merge.name} made ${made.length} of ${chunk.models[0]!.length} numbers.`);
        const values = task.kind === 'difference' ? difference(made, chunk.base!) : made;
        requireStorable(values, task.target.dtype, task.tensor, chunk.offset);
        sink.write(chunk.offset, values);
      });
    } catch (error) {
      sink.close();
      throw error;
    }
    const data = sink.close();
    return { done: true, warnings: [...new Set(warnings)], ...(data && { data }) };
  });
}

/** One pass of a round over all tensors, as far as this tensor goes. @param origin its first element in the scope */
export const measureTask = (
  merge: Merge,
  task: Task,
  progress: Progress,
  asked: Asked,
  origin: number,
  files?: Files,
): Promise<Answers> =>
  withChunks(merge, task, files, (chunks) => {
    const reducers = merge.stats![progress.round]!(contextOf(task, chunks.count, progress));
    return measure(chunks, reducers, asked, origin);
  });
