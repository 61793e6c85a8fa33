export { adafactor } from '../optim/adafactor.js';
export { adam, adamw } from '../optim/adam.js';
export { adagrad, rmsprop } from '../optim/adaptive.js';
export {
  defineOptimizer,
  type GroupStep,
  type Optimizer,
  type OptimizerDefinition,
  type State,
  type Updated,
  type UpdateSite,
} from '../optim/optimizer.js';
export { sgd } from '../optim/sgd.js';
export { newestCheckpoint } from './checkpoint-folder.js';
export type { Row, Rows } from './data.js';
export { dropoutMask, type RowOrigins } from './dropout.js';
export { type EvaluateOptions, evaluate } from './evaluate.js';
export * from './events.js';
export { type Group, groupsOf, scalarFeeds } from './groups.js';
export { loadBatch } from './load-batch.js';
export { createLook, type LookParts } from './look.js';
export { methodInputs } from './method-inputs.js';
export * from './model.js';
export type { TrainOptions } from './options.js';
export { createOrder, epochOrder, type Order, type OrderOptions } from './order.js';
export { requireBase } from './require-base.js';
export { createSchedule, type Schedule, ScheduleConfig, type Warmup, warmupSteps } from './schedules.js';
export { type StackOptions, stack } from './stack.js';
export {
  fusedGraph,
  gradientGraph,
  type StepGraph,
  type StepOptions,
  type TrainingGraph,
  updateGraph,
} from './step-graph.js';
export { train } from './train.js';
export { appendUpdate, type Carried, clipByGlobalNorm, type Gradient, type UpdateOptions } from './update.js';
export type { Watch } from './watch.js';
