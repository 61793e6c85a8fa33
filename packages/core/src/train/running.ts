import { attachMethod, expandAll } from '../adapter/attach-method.js';
import type { Clock } from '../adapter/dynamics.js';
import type { Tensors } from '../adapter/start.js';
import type { Feeds } from '../backend/backend.js';
import { PeftError } from '../errors.js';
import type { MicroBatch } from './batch-feeds.js';
import { createEvaluator, type Evaluator } from './evaluate.js';
import type { Laid } from './lay.js';
import { activeInputs, methodInputs } from './method-inputs.js';
import type { Example, TaskModel } from './model.js';
import type { ResolvedTrainOptions } from './options.js';
import type { Prepared } from './prepare.js';
import { createProbe, type Probe } from './probe.js';
import type { Stepper, StepResult, UpdateClock } from './stepper.js';

/** A phase with its programs compiled, and the tensors that live with them. */
export interface Running {
  update(
    microBatches: readonly MicroBatch[],
    clock: Clock,
    rate: Pick<UpdateClock, 'step' | 'factor'>,
  ): Promise<StepResult>;
  /** Present values of trained tensors, of the optimizer's state, and of held ones. */
  train(): Promise<Tensors>;
  state(): Promise<Tensors>;
  held(): Tensors;
  /** The same by name, whichever they are. */
  read(names: readonly string[]): Promise<Tensors>;
  write(tensors: Tensors): Promise<void>;
  /** The task's metrics over the evaluation data. */
  measure(clock: Clock, signal: AbortSignal): Promise<Record<string, number>>;
  /** The loss of chosen training rows. @param instead tensors in place of the present ones */
  lossOf(rows: readonly number[], instead: Tensors, clock: Clock): Promise<number>;
  dispose(): Promise<void>;
}

export interface RunningParts<E extends Example> {
  readonly model: TaskModel<E>;
  readonly prepared: Prepared<E>;
  readonly options: ResolvedTrainOptions;
  readonly laid: Laid;
}

/** Compiles a phase. @param from what it goes on from: trained tensors and state; nothing for the phase's own start */
export async function openPhase<E extends Example>(
  { model, prepared, options: o, laid }: RunningParts<E>,
  from: { readonly train: Tensors; readonly state: Tensors },
  signal: AbortSignal,
): Promise<Running> {
  const { plan } = prepared;
  const { method } = plan;
  const { start, attached, steps } = laid;
  const trained = attached.trainables.map(({ name }) => name);
  let { held } = start;
  let evaluator: Evaluator | undefined;
  let probe: Probe | undefined;
  const stepper: Stepper = await steps.compile(o.backend, signal);
  await stepper.write(new Map([...steps.state, ...start.train, ...from.train, ...from.state]));

  /** The model in another form, with the method in it as it is without training. */
  const still = (form: 'train' | 'evaluate') => attachMethod(model.graph(form), plan, start, { training: false }).model;

  /** What such a graph is fed: trained tensors (or what is made of them), held ones, scalars. */
  async function inputs(clock: Clock): Promise<Feeds> {
    const now = await stepper.read(trained);
    const streamed = method.stream ? expandAll(plan, { ...start, train: now }) : [];
    return { ...methodInputs(plan, held, clock), ...Object.fromEntries([...now, ...streamed]) };
  }

  const split = (tensors: Tensors) => {
    const [own, rest] = [new Map(tensors), new Map(tensors)];
    for (const name of tensors.keys()) (held.has(name) ? rest : own).delete(name);
    return { own, rest };
  };

  return {
    update: (microBatches, clock, rate) =>
      stepper.update(microBatches, {
        ...rate,
        inputs: { ...methodInputs(plan, held, clock), ...activeInputs(plan, held, clock, o.seed) },
        ...(method.observe?.at && { observe: method.observe.at(clock, plan.config) }),
      }),
    train: () => stepper.read(trained),
    state: () => stepper.read([...steps.state.keys()]),
    held: () => held,
    async read(names) {
      const own = names.flatMap((name) => (held.has(name) ? [[name, held.get(name)!] as const] : []));
      return new Map([...own, ...(await stepper.read(names.filter((name) => !held.has(name))))]);
    },
    async write(tensors) {
      const { own, rest } = split(tensors);
      if (own.size > 0) held = new Map([...held, ...own]);
      if (rest.size > 0) await stepper.write(rest);
    },
    async measure(clock, cancel) {
      if (!prepared.evalExamples) throw new PeftError('INTERNAL', 'There is nothing to evaluate on.');
      evaluator ??= await createEvaluator(still('evaluate').graph, {
        task: model.task,
        examples: prepared.evalExamples,
        backend: o.backend,
        batchSize: o.evalBatchSize ?? o.batchSize,
        signal: cancel,
      });
      return evaluator.run(await inputs(clock), cancel);
    },
    async lossOf(rows, instead, clock) {
      const { examples } = prepared;
      probe ??= await createProbe(still('train'), { task: model.task, examples, backend: o.backend });
      return probe.loss(rows, { ...(await inputs(clock)), ...Object.fromEntries(instead) });
    },
    async dispose() {
      await evaluator?.dispose();
      await probe?.dispose();
      await stepper.dispose();
    },
  };
}
