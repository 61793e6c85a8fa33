import { underOwnPaths } from '../adapter/aliases.js';
import { bindMethod, type Plan, settlePlan } from '../adapter/bind.js';
import { ownConfig } from '../adapter/config.js';
import { requireResumable, resumeTensors, type Start, startTensors } from '../adapter/start.js';
import { PeftError } from '../errors.js';
import { digestTensors, sha256 } from '../files/digest.js';
import { elementCount, isFloat } from '../tensor/dtype.js';
import { tensorRef } from '../tensor/refs.js';
import type { RunIdentity } from './checkpoint.js';
import { digestExamples, loadData } from './data.js';
import type { Laid } from './lay.js';
import { createLook } from './look.js';
import type { Example, TaskModel } from './model.js';
import type { ResolvedTrainOptions } from './options.js';
import { createOrder, type Order } from './order.js';
import { type Span, schedulesOf, spansOf } from './phases.js';
import { requireBase } from './require-base.js';
import { createSchedule, type Schedule, warmupSteps } from './schedules.js';
import type { Watch } from './watch.js';

/** Everything about a run that is settled before anything is compiled. */
export interface Prepared<E extends Example> {
  readonly plan: Plan;
  /** Where the first phase begins. */
  readonly start: Start;
  /** The phases of the run; one for a method without. */
  readonly spans: readonly Span[];
  readonly examples: readonly E[];
  readonly evalExamples: readonly E[] | undefined;
  readonly order: Order;
  readonly schedules: readonly Schedule[];
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

/**
 * Reads the data and lays out the run.
 * @throws PeftError DATA_INVALID, TARGETS_UNMATCHED, CONFIG_INVALID, ADAPTER_MISMATCH, GRADIENT_UNDEFINED, CANCELLED
 */
export async function prepare<E extends Example>(
  model: TaskModel<E>,
  o: ResolvedTrainOptions,
  watch: Watch,
): Promise<Prepared<E>> {
  const { task, parameters } = model;
  const bound = bindMethod(o.method, { targets: model.targets, parameters, modulesToSave: task.modulesToSave });
  const before = o.start && underOwnPaths(o.start, model.targets);
  await requireBase(model, before ? [before] : []);
  if (before) requireResumable(bound, before);
  const data = await loadData(o.data, task, 'training data', watch);
  const evalExamples = o.evalData && (await loadData(o.evalData, task, 'evaluation data', watch)).examples;
  const { seed, batchSize, gradAccumulation, dropLast } = o;
  const order = createOrder({ seed, rows: data.examples.length, batchSize, gradAccumulation, dropLast });
  if (order.updatesPerEpoch === 0)
    throw new PeftError(
      'CONFIG_INVALID',
      `dropLast leaves nothing of ${data.examples.length} rows in batches of ${batchSize}: use smaller batches.`,
    );
  const total = o.steps ?? Math.max(1, Math.round(o.epochs! * order.updatesPerEpoch));
  const plan = await settlePlan(
    bound,
    createLook({
      model,
      plan: bound,
      examples: data.examples,
      order,
      backend: o.backend,
      seed,
      watch,
      ...(before && { start: before }),
    }),
  );
  const start = before
    ? await resumeTensors(plan, before, { seed, parameters })
    : await startTensors(plan, { seed, parameters });
  const phases = plan.method.phases?.(ownConfig(plan.config), before) ?? [{ name: 'train', share: 1 }];
  const spans = spansOf(phases, total);
  const warmupOf = (updates: number) =>
    warmupSteps(updates, {
      ...(o.warmupSteps !== undefined && { warmupSteps: o.warmupSteps }),
      ...(o.warmupRatio !== undefined && { warmupRatio: o.warmupRatio }),
    });

  return {
    plan,
    start,
    spans,
    examples: data.examples,
    evalExamples,
    order,
    schedules: schedulesOf(spans, (updates) =>
      createSchedule(o.schedule, updates, { steps: warmupOf(updates), fromZero: o.warmupFromZero }),
    ),
    warmup: warmupOf(spans[0]!.to),
    total,
    identity: {
      // Through JSON, so that it equals what a checkpoint gives back.
      options: JSON.parse(JSON.stringify({ ...numericOptions(o), stacked: model.stacked })),
      task: task.name,
      data: data.digest,
      examples: await digestExamples(data.examples),
      choice: await digestChoice(start),
      base: await model.digest(),
    },
    notes: [...plan.report.unmatched.map(({ rule, entry }) => `${rule}: "${entry}" matches nothing in this model.`)],
  };
}

/** SHA-256 of what planning settles and a second planning has to repeat: every tensor's shape, and frozen indices. */
async function digestChoice({ train, frozen, held }: Start): Promise<string> {
  const shapes = [...train, ...frozen, ...held].map(([name, { shape }]) => [name, shape]);
  const indices = [...frozen].flatMap(([name, tensor]) =>
    isFloat(tensor.dtype) ? [] : [[name, tensorRef(tensor)] as const],
  );
  return `sha256:${await sha256(JSON.stringify([shapes, await digestTensors(new Map(indices))]))}`;
}

/** Trained numbers: all of them, and those of the adapter itself. */
export function trainableCounts({ attached }: Laid, plan: Plan) {
  const replaced = new Set(plan.replaced);
  let trainable = 0;
  let trainableAdapter = 0;
  for (const { name, shape } of attached.trainables) {
    trainable += elementCount(shape);
    if (!replaced.has(name)) trainableAdapter += elementCount(shape);
  }
  return { trainable, trainableAdapter };
}
