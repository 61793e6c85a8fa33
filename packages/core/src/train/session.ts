import { type Start, toAdapter } from '../adapter/start.js';
import type { Adapter } from '../delta/delta.js';
import { PeftError } from '../errors.js';
import { createRandom } from '../tensor/random.js';
import { microBatches } from './batch-feeds.js';
import { type Progress, type RunTensors, writeCheckpoint } from './checkpoint.js';
import type { TrainEvent } from './events.js';
import { judge, requireFinite } from './judge.js';
import { type Laid, layPhase } from './lay.js';
import { loadBatch } from './load-batch.js';
import type { Example, TaskModel } from './model.js';
import { nextStart } from './next-phase.js';
import type { ResolvedTrainOptions } from './options.js';
import { clockOf } from './phases.js';
import type { Prepared } from './prepare.js';
import { openPhase, type Running } from './running.js';

/** Where a run stands, tensors included. */
export interface SessionState {
  readonly progress: Progress;
  readonly tensors: RunTensors;
}

/** A run in motion. */
export interface Session {
  /** The phase that the run is in. */
  laid(): Laid;
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
  readonly runtime: string;
}

export function createSession<E extends Example>(parts: SessionParts<E>, from: SessionState): Session {
  const { model, prepared, options: o, runtime } = parts;
  const { task } = model;
  const { plan, order, spans, schedules, identity } = prepared;
  const { method } = plan;
  const { updatesPerEpoch } = order;
  let { progress } = from;
  let { kept, best } = from.tensors;
  let saved: Progress | undefined = progress; // nothing new to write yet
  let savedAt = performance.now();
  let laid = layPhase(model, plan, from.tensors, o, prepared.start.train);
  let running: Running | undefined;

  const span = () => spans[progress.phase]!;
  const endsEpoch = () => progress.step % updatesPerEpoch === 0;
  const due = (every: number | 'epoch') => (every === 'epoch' ? endsEpoch() : progress.step % every === 0);
  const minutesPast = () => (performance.now() - savedAt) / 60_000;
  const checkpointDue = () =>
    o.checkpoint && (due(o.checkpoint.every) || minutesPast() >= (o.checkpoint.minutes ?? Number.POSITIVE_INFINITY));
  const phaseOver = () => progress.step >= span().to || progress.stopped;
  const lastPhase = () => progress.phase === spans.length - 1;
  const finished = () => phaseOver() && lastPhase();
  const clock = () => clockOf(spans, progress.phase, progress.step);

  async function update(now: Running): Promise<TrainEvent> {
    const began = performance.now();
    const { step: t, epochLoss } = progress;
    const at = clock();
    const batches = await Promise.all(
      order.update(t).batches.map((indices) => loadBatch(task, prepared.examples, indices)),
    );
    const factor = schedules[progress.phase]!(at.phaseStep - 1);
    const feeds = microBatches(batches, { inputs: laid.attached.dropout, seed: o.seed, update: t });
    // Tensors that begin anew are counted anew: their moments are corrected as those of a start.
    const rate = { step: method.next ? at.phaseStep : at.step, factor };
    const { loss, gradNorm, penalty, observed } = await now.update(feeds, at, rate);
    requireFinite(t + 1, loss, gradNorm);
    let tries = 0;
    const edit = await method.onStep?.({
      clock: at,
      sites: plan.sites,
      observed: observed ?? new Map(),
      rng: createRandom(o.seed).fork('step', at.step),
      read: now.read,
      loss: (rows, instead = new Map(), draw) =>
        now.lossOf(drawn(rows, t, draw === undefined ? [tries++] : ['draw', draw]), instead, at),
    });
    if (edit?.set) await now.write(edit.set);
    progress = {
      ...progress,
      step: t + 1,
      settled: false,
      stopped: edit?.stop ?? false,
      epochLoss: { sum: epochLoss.sum + loss, updates: epochLoss.updates + 1 },
    };
    return {
      type: 'step',
      step: t + 1,
      loss,
      lr: o.lr * factor,
      tokens: batches.reduce((sum, batch) => sum + batch.tokens, 0),
      seconds: (performance.now() - began) / 1000,
      ...(spans.length > 1 && { phase: span().name }),
      ...(gradNorm !== undefined && { gradNorm }),
      ...(penalty !== undefined && { penalty }),
      ...(edit?.note !== undefined && { note: edit.note }),
    };
  }

  /** Random training rows, decided by the update and the draw. */
  const drawn = (rows: number, t: number, draw: readonly (string | number)[]): number[] => [
    ...createRandom(o.seed)
      .fork('probe', t, ...draw)
      .permutation(prepared.examples.length)
      .subarray(0, rows),
  ];

  /** What follows an update: the end of an epoch, the evaluation. Done again when it was interrupted. */
  async function* settle(now: Running, signal: AbortSignal): AsyncGenerator<TrainEvent, void, void> {
    const { step, epochLoss } = progress;
    if (endsEpoch())
      yield { type: 'epoch', epoch: step / updatesPerEpoch, step, loss: epochLoss.sum / epochLoss.updates };
    const measured = prepared.evalExamples && (due(o.evalEvery) || phaseOver());
    const metrics = measured ? await now.measure(clock(), signal) : undefined;
    if (metrics) {
      const judged = judge(metrics, task, progress, o.earlyStopping?.patience);
      if (judged.improved && o.keepBest) best = new Map([...now.held(), ...(await now.train())]);
      progress = judged.progress;
    }
    progress = { ...progress, settled: true, ...(endsEpoch() && { epochLoss: { sum: 0, updates: 0 } }) };
    if (metrics) yield { type: 'eval', step, metrics };
  }

  /** The end of a phase: what it trained becomes the start of the next, or goes on as it is. */
  async function* advance(now: Running, signal: AbortSignal): AsyncGenerator<TrainEvent, void, void> {
    // While the next phase is compiled nothing is there that could be saved.
    if (method.next) yield* checkpoint();
    const phase = progress.phase + 1;
    progress = { ...progress, phase, stopped: false, stale: 0, step: spans[phase]!.from };
    if (method.next) {
      const train = new Map([...(await now.train()), ...(o.keepBest ? best : [])]);
      const state = await now.state();
      const end = { phase, start: laid.start, train, held: now.held(), kept, state, seed: o.seed };
      const next = await nextStart(prepared, model, end);
      running = undefined;
      await now.dispose();
      ({ kept } = next);
      laid = layPhase(model, plan, next, o, prepared.start.train);
      const goesOn = new Map(spans[phase]!.continues ? [...state, ...next.state] : []);
      running = await openPhase({ model, prepared, options: o, laid }, { train: new Map(), state: goesOn }, signal);
    }
    best = new Map();
    const { best: _, ...rest } = progress;
    progress = rest;
    yield { type: 'phase', step: progress.step, phase: span().name };
  }

  async function save(): Promise<string | undefined> {
    if (!o.checkpoint || saved === progress || !running) return undefined;
    const frozen = progress.phase === 0 ? new Map() : laid.start.frozen;
    const [train, state] = [await running.train(), await running.state()];
    const tensors = { train, state, held: running.held(), frozen, kept, best };
    const path = await writeCheckpoint(o.checkpoint.directory, { runtime, identity, progress, tensors });
    saved = progress;
    savedAt = performance.now();
    return path;
  }

  async function* checkpoint(): AsyncGenerator<TrainEvent, void, void> {
    const path = await save();
    if (path) yield { type: 'checkpoint', step: progress.step, path };
  }

  return {
    laid: () => laid,
    save,
    async *loop(signal) {
      running = await openPhase({ model, prepared, options: o, laid }, from.tensors, signal);
      while (!progress.settled || !finished()) {
        if (signal.aborted) {
          yield* checkpoint();
          const message = `The training was cancelled after step ${progress.step}.`;
          throw new PeftError('CANCELLED', message, { cause: signal.reason });
        }
        if (!progress.settled) {
          yield* settle(running, signal);
          if (finished() || checkpointDue()) yield* checkpoint();
        } else if (phaseOver()) yield* advance(running, signal);
        else yield await update(running);
      }
    },
    async adapter() {
      if (!running) throw new PeftError('INTERNAL', 'An adapter was asked for before training began.');
      const now = o.keepBest && best.size > 0 ? best : await running.train();
      const { frozen, train } = laid.start;
      const end: Start = { frozen, held: running.held(), train: new Map([...train, ...now]) };
      return toAdapter(plan, end, {
        base: { name: model.name, digest: identity.base },
        task: { name: task.name, ...(task.labels && { labels: task.labels }) },
        ...(model.stacked && { on: model.stacked }),
        parameters: model.parameters,
      });
    },
    async dispose() {
      const open = running;
      running = undefined;
      await open?.dispose();
    },
  };
}
