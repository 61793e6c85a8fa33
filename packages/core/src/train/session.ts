import { attachMethod } from '../adapter/attach-method.js';
import { toAdapter } from '../adapter/start.js';
import type { Adapter } from '../delta/delta.js';
import { PeftError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { batchFeeds } from './batch-feeds.js';
import { type Progress, writeCheckpoint } from './checkpoint.js';
import { createEvaluator, type Evaluator } from './evaluate.js';
import type { TrainEvent } from './events.js';
import { judge, requireFinite } from './judge.js';
import { loadBatch } from './load-batch.js';
import type { Example, TaskModel } from './model.js';
import type { ResolvedTrainOptions } from './options.js';
import type { Prepared } from './prepare.js';
import type { Stepper } from './stepper.js';

/** Where a run stands, tensors included. */
export interface SessionState {
  readonly progress: Progress;
  /** Parameters and optimizer state. */
  readonly current: ReadonlyMap<string, Tensor>;
  /** Parameters of the best evaluation. */
  readonly best: ReadonlyMap<string, Tensor>;
}

/** A run in motion. */
export interface Session {
  /** Trains to the end, or until the signal: then it writes a checkpoint and throws CANCELLED. */
  loop(signal: AbortSignal): AsyncGenerator<TrainEvent, void, void>;
  /** Writes a checkpoint where a directory is given and the newest one is older; gives its path. */
  save(): Promise<string | undefined>;
  /** What has been trained so far, or the best of it where the run keeps that. */
  adapter(): Promise<Adapter>;
  dispose(): Promise<void>;
}

export interface SessionParts<E extends Example> {
  readonly model: TaskModel<E>;
  readonly prepared: Prepared<E>;
  readonly options: ResolvedTrainOptions;
  readonly stepper: Stepper;
  readonly runtime: string;
}

export function createSession<E extends Example>(parts: SessionParts<E>, from: SessionState): Session {
  const { model, prepared, options: o, stepper, runtime } = parts;
  const { task } = model;
  const { plan, start, attached, order, schedule, total, identity } = prepared;
  const parameterNames = attached.trainables.map(({ name }) => name);
  const { updatesPerEpoch } = order;
  let { progress, best } = from;
  let saved: Progress | undefined = progress; // nothing new to write yet
  let evaluator: Evaluator | undefined;

  const endsEpoch = () => progress.step % updatesPerEpoch === 0;
  const due = (every: number | 'epoch') => (every === 'epoch' ? endsEpoch() : progress.step % every === 0);
  const finished = () => progress.step >= total || progress.stopped;

  async function update(): Promise<TrainEvent> {
    const began = performance.now();
    const { step: t, epochLoss } = progress;
    const batches = await Promise.all(
      order.update(t).batches.map((indices) => {
        const chosen = indices.map((i) => prepared.examples[i]!);
        return loadBatch(task, chosen, indices);
      }),
    );
    const factor = schedule(t);
    const feeds = batchFeeds(batches, { inputs: attached.dropout, seed: o.seed, update: t });
    const { loss, gradNorm } = await stepper.update(feeds, { step: t + 1, factor });
    requireFinite(t + 1, loss, gradNorm);
    progress = {
      ...progress,
      step: t + 1,
      settled: false,
      epochLoss: { sum: epochLoss.sum + loss, updates: epochLoss.updates + 1 },
    };
    return {
      type: 'step',
      step: t + 1,
      loss,
      lr: o.lr * factor,
      tokens: batches.reduce((sum, batch) => sum + batch.tokens, 0),
      seconds: (performance.now() - began) / 1000,
      ...(gradNorm !== undefined && { gradNorm }),
    };
  }

  async function measure(signal: AbortSignal): Promise<Record<string, number>> {
    if (!evaluator) {
      const { graph } = attachMethod(model.graph('evaluate'), plan, start, { training: false }).model;
      const batchSize = o.evalBatchSize ?? o.batchSize;
      evaluator = await createEvaluator(graph, {
        task,
        examples: prepared.evalExamples!,
        backend: o.backend,
        batchSize,
        signal,
      });
    }
    return evaluator.run(Object.fromEntries(await stepper.read(parameterNames)), signal);
  }

  /** What follows an update: the end of an epoch, the evaluation. Done again when it was interrupted. */
  async function* settle(signal: AbortSignal): AsyncGenerator<TrainEvent, void, void> {
    const { step, epochLoss } = progress;
    if (endsEpoch())
      yield { type: 'epoch', epoch: step / updatesPerEpoch, step, loss: epochLoss.sum / epochLoss.updates };
    const metrics = prepared.evalExamples && (due(o.evalEvery) || finished()) ? await measure(signal) : undefined;
    if (metrics) {
      const judged = judge(metrics, task, progress, o.earlyStopping?.patience);
      if (judged.improved && o.keepBest) best = await stepper.read(parameterNames);
      progress = judged.progress;
    }
    progress = { ...progress, settled: true, ...(endsEpoch() && { epochLoss: { sum: 0, updates: 0 } }) };
    if (metrics) yield { type: 'eval', step, metrics };
  }

  async function save(): Promise<string | undefined> {
    if (!o.checkpoint || saved === progress) return undefined;
    const names = [...parameterNames, ...prepared.steps.state.keys()];
    const current = await stepper.read(names);
    const path = await writeCheckpoint(o.checkpoint.directory, { runtime, identity, progress, current, best });
    saved = progress;
    return path;
  }

  async function* checkpoint(): AsyncGenerator<TrainEvent, void, void> {
    const path = await save();
    if (path) yield { type: 'checkpoint', step: progress.step, path };
  }

  return {
    save,
    async *loop(signal) {
      while (!progress.settled || !finished()) {
        if (signal.aborted) {
          yield* checkpoint();
          const message = `The training was cancelled after step ${progress.step}.`;
          throw new PeftError('CANCELLED', message, { cause: signal.reason });
        }
        if (progress.settled) yield await update();
        else {
          yield* settle(signal);
          if (finished() || (o.checkpoint && due(o.checkpoint.every))) yield* checkpoint();
        }
      }
    },
    async adapter() {
      const trained = o.keepBest && best.size > 0 ? best : await stepper.read(parameterNames);
      const { frozen, train } = start;
      return toAdapter(
        plan,
        { frozen, train: new Map([...train, ...trained]) },
        {
          base: { name: model.name, digest: identity.base },
          task: { name: task.name, ...(task.labels && { labels: task.labels }) },
          parameters: model.parameters,
        },
      );
    },
    async dispose() {
      await evaluator?.dispose();
      await stepper.dispose();
    },
  };
}
