import { attachMethod, expandAll } from '../adapter/attach-method.js';
import { type Start, toAdapter } from '../adapter/start.js';
import type { Adapter } from '../delta/delta.js';
import { PeftError } from '../errors.js';
import { createRandom } from '../tensor/random.js';
import { batchFeeds } from './batch-feeds.js';
import { type Progress, type RunTensors, writeCheckpoint } from './checkpoint.js';
import { createEvaluator, type Evaluator } from './evaluate.js';
import type { TrainEvent } from './events.js';
import { judge, requireFinite } from './judge.js';
import { type Laid, layPhase } from './lay.js';
import { loadBatch } from './load-batch.js';
import { activeInputs, methodInputs } from './method-inputs.js';
import type { Example, TaskModel } from './model.js';
import { nextStart } from './next-phase.js';
import type { ResolvedTrainOptions } from './options.js';
import { clockOf } from './phases.js';
import type { Prepared } from './prepare.js';
import { createProbe, type Probe } from './probe.js';
import type { Stepper } from './stepper.js';

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
  let { held, kept, best } = from.tensors;
  let saved: Progress | undefined = progress; // nothing new to write yet
  let laid = layPhase(model, plan, from.tensors, o, prepared.start.train);
  let stepper: Stepper | undefined;
  let evaluator: Evaluator | undefined;
  let probe: Probe | undefined;

  const trained = () => laid.attached.trainables.map(({ name }) => name);
  const stateNames = () => [...laid.steps.state.keys()];
  const span = () => spans[progress.phase]!;
  const endsEpoch = () => progress.step % updatesPerEpoch === 0;
  const due = (every: number | 'epoch') => (every === 'epoch' ? endsEpoch() : progress.step % every === 0);
  const phaseOver = () => progress.step >= span().to || progress.stopped;
  const lastPhase = () => progress.phase === spans.length - 1;
  const finished = () => phaseOver() && lastPhase();
  const clock = () => clockOf(spans, progress.phase, progress.step);

  /** Compiles the present phase, with the tensors it goes on from. */
  async function open(tensors: Pick<RunTensors, 'train' | 'state'>, signal: AbortSignal): Promise<Stepper> {
    const made = await laid.steps.compile(o.backend, signal);
    stepper = made;
    await made.write(new Map([...laid.steps.state, ...laid.start.train, ...tensors.train, ...tensors.state]));
    return made;
  }

  async function release(): Promise<void> {
    const all = [evaluator, probe, stepper];
    evaluator = undefined;
    probe = undefined;
    stepper = undefined;
    for (const one of all) await one?.dispose();
  }

  async function update(): Promise<TrainEvent> {
    const began = performance.now();
    const { step: t, epochLoss } = progress;
    const now = clock();
    const batches = await Promise.all(
      order.update(t).batches.map((indices) => loadBatch(task, prepared.examples, indices)),
    );
    const factor = schedules[progress.phase]!(now.phaseStep - 1);
    const feeds = batchFeeds(batches, { inputs: laid.attached.dropout, seed: o.seed, update: t });
    const { loss, gradNorm, penalty, observed } = await stepper!.update(feeds, {
      // An optimizer whose state goes on counts on.
      step: method.next ? now.phaseStep : now.step,
      factor,
      inputs: { ...methodInputs(plan, held, now), ...activeInputs(plan, held, now, o.seed) },
      ...(method.observe && { observe: method.observe.at(now, plan.config) }),
    });
    requireFinite(t + 1, loss, gradNorm);
    let tries = 0;
    const edit = await method.onStep?.({
      clock: now,
      sites: plan.sites,
      observed: observed ?? new Map(),
      rng: createRandom(o.seed).fork('step', now.step),
      read,
      loss: (rows, instead, draw) =>
        lossOf(rows, instead ?? new Map(), draw === undefined ? [tries++] : ['draw', draw]),
    });
    if (edit?.set) await set(edit.set);
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

  /** Held tensors live here, the others with the programs. */
  async function read(names: readonly string[]) {
    const own = names.filter((name) => held.has(name));
    const rest = names.filter((name) => !held.has(name));
    return new Map([...own.map((name) => [name, held.get(name)!] as const), ...(await stepper!.read(rest))]);
  }

  async function set(tensors: RunTensors['held']): Promise<void> {
    const own = new Map([...tensors].filter(([name]) => held.has(name)));
    const rest = new Map([...tensors].filter(([name]) => !held.has(name)));
    if (own.size > 0) held = new Map([...held, ...own]);
    if (rest.size > 0) await stepper!.write(rest);
  }

  async function lossOf(
    rows: number,
    instead: RunTensors['held'],
    draw: readonly (string | number)[],
  ): Promise<number> {
    probe ??= await createProbe(attachMethod(model.graph('train'), plan, laid.start, { training: false }).model, {
      task,
      examples: prepared.examples,
      backend: o.backend,
    });
    const order = createRandom(o.seed)
      .fork('probe', progress.step, ...draw)
      .permutation(prepared.examples.length);
    return probe.loss([...order.subarray(0, rows)], { ...(await inputs()), ...Object.fromEntries(instead) });
  }

  /** What a graph without training is fed: trained tensors (or what is made of them), held ones, scalars. */
  async function inputs() {
    const now = await stepper!.read(trained());
    const streamed = method.stream ? expandAll(plan, { ...laid.start, train: now }) : [];
    return { ...methodInputs(plan, held, clock()), ...Object.fromEntries([...now, ...streamed]) };
  }

  async function measure(signal: AbortSignal): Promise<Record<string, number>> {
    evaluator ??= await createEvaluator(
      attachMethod(model.graph('evaluate'), plan, laid.start, { training: false }).model.graph,
      {
        task,
        examples: prepared.evalExamples!,
        backend: o.backend,
        batchSize: o.evalBatchSize ?? o.batchSize,
        signal,
      },
    );
    return evaluator.run(await inputs(), signal);
  }

  /** What follows an update: the end of an epoch, the evaluation. Done again when it was interrupted. */
  async function* settle(signal: AbortSignal): AsyncGenerator<TrainEvent, void, void> {
    const { step, epochLoss } = progress;
    if (endsEpoch())
      yield { type: 'epoch', epoch: step / updatesPerEpoch, step, loss: epochLoss.sum / epochLoss.updates };
    const metrics = prepared.evalExamples && (due(o.evalEvery) || phaseOver()) ? await measure(signal) : undefined;
    if (metrics) {
      const judged = judge(metrics, task, progress, o.earlyStopping?.patience);
      if (judged.improved && o.keepBest) best = new Map([...held, ...(await stepper!.read(trained()))]);
      progress = judged.progress;
    }
    progress = { ...progress, settled: true, ...(endsEpoch() && { epochLoss: { sum: 0, updates: 0 } }) };
    if (metrics) yield { type: 'eval', step, metrics };
  }

  /** The end of a phase: what it trained becomes the start of the next, or goes on as it is. */
  async function* advance(signal: AbortSignal): AsyncGenerator<TrainEvent, void, void> {
    const phase = progress.phase + 1;
    progress = { ...progress, phase, stopped: false, stale: 0, step: spans[phase]!.from };
    if (method.next) {
      const end = new Map([...(await stepper!.read(trained())), ...(o.keepBest ? best : [])]);
      const next = await nextStart(prepared, model, { phase, start: laid.start, train: end, held, kept, seed: o.seed });
      await release();
      ({ held, kept } = next);
      laid = layPhase(model, plan, next, o, prepared.start.train);
      await open({ train: new Map(), state: new Map() }, signal);
    }
    best = new Map();
    const { best: _, ...rest } = progress;
    progress = rest;
    yield { type: 'phase', step: progress.step, phase: span().name };
  }

  async function save(): Promise<string | undefined> {
    if (!o.checkpoint || saved === progress || !stepper) return undefined;
    const train = await stepper.read(trained());
    const state = await stepper.read(stateNames());
    const frozen = progress.phase === 0 ? new Map() : laid.start.frozen;
    const tensors = { train, state, held, frozen, kept, best };
    const path = await writeCheckpoint(o.checkpoint.directory, { runtime, identity, progress, tensors });
    saved = progress;
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
      await open(from.tensors, signal);
      while (!progress.settled || !finished()) {
        if (signal.aborted) {
          yield* checkpoint();
          const message = `The training was cancelled after step ${progress.step}.`;
          throw new PeftError('CANCELLED', message, { cause: signal.reason });
        }
        if (!progress.settled) {
          yield* settle(signal);
          if (finished() || (o.checkpoint && due(o.checkpoint.every))) yield* checkpoint();
        } else if (phaseOver()) yield* advance(signal);
        else yield await update();
      }
    },
    async adapter() {
      const now = o.keepBest && best.size > 0 ? best : await stepper!.read(trained());
      const { frozen, train } = laid.start;
      const end: Start = { frozen, held, train: new Map([...train, ...now]) };
      return toAdapter(plan, end, {
        base: { name: model.name, digest: identity.base },
        task: { name: task.name, ...(task.labels && { labels: task.labels }) },
        parameters: model.parameters,
      });
    },
    dispose: release,
  };
}
