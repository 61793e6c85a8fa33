import { type Attached, attachMethod } from '../adapter/attach-method.js';
import { bindMethod, type Plan } from '../adapter/bind.js';
import { resumeTensors, type Start, startTensors } from '../adapter/start.js';
import { PeftError } from '../errors.js';
import { elementCount } from '../tensor/dtype.js';
import type { RunIdentity } from './checkpoint.js';
import { loadData } from './data.js';
import { groupsOf } from './groups.js';
import type { Example, TaskModel } from './model.js';
import type { ResolvedTrainOptions } from './options.js';
import { createOrder, type Order } from './order.js';
import { planSteps } from './plan.js';
import { createSchedule, type Schedule, warmupSteps } from './schedules.js';
import type { StepPlan } from './stepper.js';

/** Everything about a run that is settled before anything is compiled. */
export interface Prepared<E extends Example> {
  readonly plan: Plan;
  readonly start: Start;
  readonly attached: Attached;
  readonly steps: StepPlan;
  readonly examples: readonly E[];
  readonly evalExamples: readonly E[] | undefined;
  readonly order: Order;
  readonly schedule: Schedule;
  readonly warmup: number;
  /** Updates of the run. */
  readonly total: number;
  readonly identity: RunIdentity;
  /** What a user should hear once. */
  readonly notes: readonly string[];
}

/** Options that decide the numbers of a run, as JSON. */
const numericOptions = (o: ResolvedTrainOptions): Record<string, unknown> => ({
  method: o.method.method.name,
  methodConfig: o.method.config,
  lr: o.lr,
  epochs: o.epochs,
  steps: o.steps,
  batchSize: o.batchSize,
  schedule: o.schedule,
  warmupRatio: o.warmupRatio,
  warmupSteps: o.warmupSteps,
  warmupFromZero: o.warmupFromZero,
  optimizer: o.optimizer.name,
  optimizerConfig: o.optimizer.config,
  weightDecay: o.weightDecay,
  maxGradNorm: o.maxGradNorm,
  gradAccumulation: o.gradAccumulation,
  seed: o.seed,
  dropLast: o.dropLast,
  keepBest: o.keepBest,
  start: o.start?.digest,
});

/** The training graph with the method in it. */
function attach<E extends Example>(model: TaskModel<E>, plan: Plan, start: Start) {
  const attached = attachMethod(model.graph('train'), plan, start, { training: true });
  const { graph, loss } = attached.model;
  if (!loss) throw new PeftError('INTERNAL', `The training graph of "${model.name}" has no loss.`);
  return { attached, training: { graph, loss, trainables: attached.trainables } };
}

/**
 * Reads the data and lays out the run.
 * @throws PeftError DATA_INVALID, TARGETS_UNMATCHED, CONFIG_INVALID, ADAPTER_MISMATCH, GRADIENT_UNDEFINED
 */
export async function prepare<E extends Example>(model: TaskModel<E>, o: ResolvedTrainOptions): Promise<Prepared<E>> {
  const { task, parameters } = model;
  const plan = bindMethod(o.method, { targets: model.targets, parameters, modulesToSave: task.modulesToSave });
  const data = await loadData(o.data, task, 'training data');
  const evalExamples = o.evalData && (await loadData(o.evalData, task, 'evaluation data')).examples;
  const { seed, batchSize, gradAccumulation, dropLast } = o;
  const order = createOrder({ seed, rows: data.examples.length, batchSize, gradAccumulation, dropLast });
  if (order.updatesPerEpoch === 0)
    throw new PeftError(
      'CONFIG_INVALID',
      `dropLast leaves nothing of ${data.examples.length} rows in batches of ${batchSize}: use smaller batches.`,
    );
  const total = o.steps ?? Math.max(1, Math.round(o.epochs! * order.updatesPerEpoch));
  const warmup = warmupSteps(total, {
    ...(o.warmupSteps !== undefined && { warmupSteps: o.warmupSteps }),
    ...(o.warmupRatio !== undefined && { warmupRatio: o.warmupRatio }),
  });

  const start = o.start
    ? await resumeTensors(plan, o.start, { seed, parameters })
    : await startTensors(plan, { seed, parameters });
  const { attached, training } = attach(model, plan, start);
  const { groups, of } = groupsOf(
    attached.trainables.map(({ rule }) => rule),
    { lr: o.lr, weightDecay: o.weightDecay },
  );
  const steps = planSteps(training, {
    optimizer: o.optimizer,
    groups,
    groupOf: of,
    gradAccumulation,
    ...(o.maxGradNorm !== undefined && { maxGradNorm: o.maxGradNorm }),
  });

  return {
    plan,
    start,
    attached,
    steps,
    examples: data.examples,
    evalExamples,
    order,
    schedule: createSchedule(o.schedule, total, { steps: warmup, fromZero: o.warmupFromZero }),
    warmup,
    total,
    identity: {
      // Through JSON, so that it equals what a checkpoint gives back.
      options: JSON.parse(JSON.stringify(numericOptions(o))),
      task: task.name,
      data: data.digest,
      base: await model.digest(),
    },
    notes: [
      ...attached.notes,
      ...plan.report.unmatched.map(({ rule, entry }) => `${rule}: "${entry}" matches nothing in this model.`),
    ],
  };
}

/** Trained numbers: all of them, and those of the adapter itself. */
export function trainableCounts({ attached, plan }: Pick<Prepared<Example>, 'attached' | 'plan'>) {
  const replaced = new Set(plan.replaced);
  let trainable = 0;
  let trainableAdapter = 0;
  for (const { name, shape } of attached.trainables) {
    trainable += elementCount(shape);
    if (!replaced.has(name)) trainableAdapter += elementCount(shape);
  }
  return { trainable, trainableAdapter };
}
