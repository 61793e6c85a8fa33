import * as z from 'zod';
import { type Bound, requireBound } from '../adapter/define-method.js';
import type { Backend } from '../backend/backend.js';
import type { Adapter } from '../delta/delta.js';
import { requireStamp } from '../delta/stamp.js';
import { isPeftError, Problems } from '../errors.js';
import { adamw } from '../optim/adam.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Rows } from './data.js';
import { ScheduleConfig } from './schedules.js';

const count = z.number().int().positive();
const object = <T>(what: string) =>
  z.custom<T>((value) => typeof value === 'object' && value !== null, { error: `must be ${what}` });

/** A value that carries the mark of its `define*` function; the message of a wrong one says what is wrong. */
const stamped = <T>(check: (value: T) => void) =>
  z.custom<T>().superRefine((value, context) => {
    try {
      check(value);
    } catch (error) {
      if (!isPeftError(error)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
    }
  });

const rows = z.custom<Rows>(
  (value) => typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value),
  { error: 'must be an array or an (async) iterable of rows' },
);

/** How often something is done: every so many updates, or at the end of every epoch. */
const every = z.union([count, z.literal('epoch')]);

const Options = z
  .strictObject({
    /** The method with its configuration: `lora({ r: 8 })`. */
    method: stamped<Bound>(requireBound),
    /** Rows to train on. */
    data: rows,
    /** Rows to measure on. */
    evalData: rows.optional(),
    backend: object<Backend>('a backend, e.g. onnxruntime()'),
    /** The full rate, reached after the warm-up. */
    lr: z.number().positive(),
    /** Give either `epochs`, which may be a fraction, or `steps` (updates). */
    epochs: z.number().positive().optional(),
    steps: count.optional(),
    /** Rows of one micro-batch. */
    batchSize: count.default(8),
    schedule: ScheduleConfig.default('linear'),
    /** Warm-up as a part of all updates; or `warmupSteps`. */
    warmupRatio: z.number().min(0).max(1).optional(),
    warmupSteps: z.number().int().nonnegative().optional(),
    /** The first update has rate 0 instead of 1/warmupSteps of the full one. */
    warmupFromZero: z.boolean().default(false),
    optimizer: stamped<Optimizer>((value) => requireStamp(value, 'optimizer', 'v1', 'The optimizer')).default(adamw),
    weightDecay: z.number().nonnegative().default(0),
    /** Largest global norm of the gradient; not clipped by default. */
    maxGradNorm: z.number().positive().optional(),
    /** Micro-batches that make one update. The loss is the mean over the labels of all of them. */
    gradAccumulation: count.default(1),
    /** Decides the start, the order of the rows and the dropout. */
    seed: z.number().int().nonnegative().default(0),
    /** Leaves out the last micro-batch of an epoch when it is not full. */
    dropLast: z.boolean().default(false),
    evalEvery: every.default('epoch'),
    evalBatchSize: count.optional(),
    /** Ends the run when the task's metric has not improved for so many evaluations. */
    earlyStopping: z.strictObject({ patience: count }).optional(),
    /** Gives the adapter of the best evaluation instead of the last one. */
    keepBest: z.boolean().default(false),
    /**
     * Where the state of the run is kept, and how often it is written: at `every`, and besides where so many `minutes`
     * have passed since the last time. The directory belongs to one run.
     */
    checkpoint: z
      .strictObject({
        directory: z.string().min(1),
        every: every.default('epoch'),
        minutes: z.number().positive().optional(),
      })
      .optional(),
    /** `true` continues from the newest checkpoint in the directory, if there is one; a path from that very one. */
    resume: z.union([z.boolean(), z.string().min(1)]).default(false),
    /** An adapter to train on, instead of a fresh start. */
    start: object<Adapter>('an adapter').optional(),
    signal: z
      .custom<AbortSignal>((value) => value instanceof AbortSignal, { error: 'must be an AbortSignal' })
      .optional(),
  })
  .superRefine((o, context) => {
    const refuse = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message });
    if ((o.epochs === undefined) === (o.steps === undefined)) refuse('epochs', 'give either epochs or steps');
    if (o.warmupRatio !== undefined && o.warmupSteps !== undefined)
      refuse('warmupSteps', 'give either warmupRatio or warmupSteps');
    if (o.earlyStopping && !o.evalData) refuse('earlyStopping', 'needs evalData');
    if (o.keepBest && !o.evalData) refuse('keepBest', 'needs evalData');
    if (o.resume === true && !o.checkpoint) refuse('resume', 'needs checkpoint.directory, or the path of a checkpoint');
  });

export type TrainOptions = z.input<typeof Options>;
export type ResolvedTrainOptions = z.output<typeof Options>;

/** @throws PeftError CONFIG_INVALID with everything wrong with the options */
export function resolveOptions(options: TrainOptions): ResolvedTrainOptions {
  const parsed = Options.safeParse(options);
  if (parsed.success) return parsed.data;
  const problems = new Problems();
  for (const issue of parsed.error.issues)
    problems.add([issue.path.join('.'), issue.message].filter(Boolean).join(': '));
  problems.throwIfAny('CONFIG_INVALID', 'Options of train');
  throw parsed.error;
}
