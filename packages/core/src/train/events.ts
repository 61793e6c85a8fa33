import * as z from 'zod';

const count = z.number().int().nonnegative();
const metrics = z.record(z.string(), z.number());

/**
 * Sent at most once a second before `start`, while rows are read and a method looks at weights and data: a run that is
 * ready sooner sends none.
 */
export const PrepareEvent = z.object({
  type: z.literal('prepare'),
  /** What is being done: `reading the training data`. */
  what: z.string(),
  /** Rows, batches or weights so far, and how many there are where that is known. */
  done: count,
  total: count.optional(),
});
export type PrepareEvent = z.output<typeof PrepareEvent>;

/** Sent once, before the first update of this run. */
export const StartEvent = z.object({
  type: z.literal('start'),
  /** Numbers in the base model, new heads included. */
  parameters: count,
  /** Numbers that are trained. */
  trainable: count,
  /** Of these, the numbers of the adapter itself: without modules saved in full. */
  trainableAdapter: count,
  /** Updates of the whole run. */
  steps: count,
  epochs: z.number().nonnegative(),
  /** Rows of the training data. */
  rows: count,
  batchSize: count,
  gradAccumulation: count,
  warmupSteps: count,
  /** The update that this run begins after: 0, or the step of the checkpoint it resumes. */
  step: count,
});

/** Sent after every update. */
export const StepEvent = z.object({
  type: z.literal('step'),
  /** From 1. */
  step: count,
  /** Mean over the labels of the batch, before the update. */
  loss: z.number(),
  /** Rate of this update, before the factors of parameter groups. */
  lr: z.number(),
  /** Tokens of the batch that are not padding. */
  tokens: count,
  /** Time of this step. */
  seconds: z.number().nonnegative(),
  /** Global norm of the gradient before clipping; only when the run clips. */
  gradNorm: z.number().optional(),
  /** The method's own term of the loss, beside it. */
  penalty: z.number().optional(),
  /** The phase, for a method that has several. */
  phase: z.string().optional(),
  /** What the method changed after this step. */
  note: z.string().optional(),
});

/** Sent when another phase begins: its first update is the one after `step`. */
export const PhaseEvent = z.object({ type: z.literal('phase'), step: count, phase: z.string() });

/** Sent when all rows have been seen once more. */
export const EpochEvent = z.object({ type: z.literal('epoch'), epoch: count, step: count, loss: z.number() });
export const EvalEvent = z.object({ type: z.literal('eval'), step: count, metrics });
export const CheckpointEvent = z.object({ type: z.literal('checkpoint'), step: count, path: z.string() });
export const WarningEvent = z.object({ type: z.literal('warning'), message: z.string() });

export const TrainEvent = z.discriminatedUnion('type', [
  PrepareEvent,
  StartEvent,
  StepEvent,
  PhaseEvent,
  EpochEvent,
  EvalEvent,
  CheckpointEvent,
  WarningEvent,
]);
export type TrainEvent = z.output<typeof TrainEvent>;
