import type { Adapter } from '../delta/delta.js';
import { coreVersion } from '../delta/stamp.js';
import { isPeftError, PeftError } from '../errors.js';
import { createRun, type Run } from '../run.js';
import { elementCount } from '../tensor/dtype.js';
import { type Progress, readCheckpoint, requireSameRun } from './checkpoint.js';
import { newestCheckpoint, requireOwnFolder } from './checkpoint-folder.js';
import type { TrainEvent } from './events.js';
import type { Laid } from './lay.js';
import type { Example, TaskModel } from './model.js';
import { type ResolvedTrainOptions, resolveOptions, type TrainOptions } from './options.js';
import { type Prepared, prepare, trainableCounts } from './prepare.js';
import { createSession, type SessionState } from './session.js';
import { watched } from './watch.js';

/**
 * Trains an adapter. The run is cold: nothing happens before it is iterated or its result is asked for. Leaving the
 * loop, or aborting, writes a checkpoint when a directory for them is given, and releases everything.
 * @throws PeftError CONFIG_INVALID with everything wrong with the options. While running: FILE_UNWRITABLE
 *   or CONFIG_INVALID for a folder of checkpoints that cannot be this run's, what `prepare` throws, CHECKPOINT_MISMATCH,
 *   TRAINING_DIVERGED with the step, CANCELLED after an abort
 */
export function train<E extends Example>(model: TaskModel<E>, options: TrainOptions): Run<TrainEvent, Adapter> {
  const resolved = resolveOptions(options);
  return createRun((signal) => run(model, resolved, signal), resolved.signal);
}

async function* run<E extends Example>(
  model: TaskModel<E>,
  options: ResolvedTrainOptions,
  signal: AbortSignal,
): AsyncGenerator<TrainEvent, Adapter, void> {
  if (options.checkpoint) await requireOwnFolder(options.checkpoint.directory, options.resume);
  const prepared = yield* watched(signal, (watch) => prepare(model, options, watch));
  const { warnings, ...state } = await restore(prepared, options);
  const session = createSession({ model, prepared, options, runtime: runtimeOf(options) }, state);
  const laid = session.laid();
  for (const message of [...laid.attached.notes, ...prepared.notes, ...warnings]) yield { type: 'warning', message };
  yield startEvent(model, prepared, laid, options, state.progress.step);

  if (signal.aborted) throw new PeftError('CANCELLED', 'The training was cancelled.', { cause: signal.reason });
  let failed = false;
  try {
    yield* session.loop(signal);
    return await session.adapter();
  } catch (error) {
    // After any other error, what the programs hold may be no state to go on from.
    failed = !(isPeftError(error) && error.code === 'CANCELLED');
    throw error;
  } finally {
    try {
      if (!failed) await session.save();
    } finally {
      await session.dispose();
    }
  }
}

function startEvent<E extends Example>(
  model: TaskModel<E>,
  prepared: Prepared<E>,
  laid: Laid,
  { batchSize, gradAccumulation }: ResolvedTrainOptions,
  step: number,
): TrainEvent {
  const { total, order, examples, warmup } = prepared;
  let parameters = 0; // tied ones are one reference under two names
  for (const { shape } of new Set(model.parameters.values())) parameters += elementCount(shape);
  return {
    type: 'start',
    parameters,
    ...trainableCounts(laid, prepared.plan),
    steps: total,
    epochs: total / order.updatesPerEpoch,
    rows: examples.length,
    batchSize,
    gradAccumulation,
    warmupSteps: warmup,
    step,
  };
}

const runtimeOf = ({ backend }: ResolvedTrainOptions): string =>
  `${backend.name} ${backend.device}, core ${coreVersion}`;

const fresh: Progress = {
  step: 0,
  settled: true,
  epochLoss: { sum: 0, updates: 0 },
  stale: 0,
  stopped: false,
  phase: 0,
};

/** Where the run begins: afresh, or at a checkpoint. */
async function restore<E extends Example>(
  { start, identity }: Prepared<E>,
  { resume, checkpoint, ...options }: ResolvedTrainOptions,
): Promise<SessionState & { readonly warnings: readonly string[] }> {
  const path = resume === true ? await newestCheckpoint(checkpoint!.directory) : resume;
  if (!path) {
    const warnings = resume ? [`There is no checkpoint in ${checkpoint!.directory}: training starts afresh.`] : [];
    const none = new Map();
    return { progress: fresh, tensors: { ...start, state: none, kept: none, best: none }, warnings };
  }
  const found = await readCheckpoint(path);
  requireSameRun(path, found.identity, identity);
  const here = runtimeOf({ resume, ...options });
  const note = `The checkpoint was made by ${found.runtime}, this is ${here}: the numbers may differ in their last bits.`;
  const { progress, tensors } = found;
  const frozen = progress.phase === 0 ? start.frozen : tensors.frozen;
  return { progress, tensors: { ...tensors, frozen }, warnings: found.runtime === here ? [] : [note] };
}
