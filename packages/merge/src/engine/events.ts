import * as z from 'zod';

const count = z.number().int().nonnegative();

/** Sent once, before anything is computed. */
export const StartEvent = z.object({
  type: z.literal('start'),
  method: z.string(),
  /** Names of the models, without the base. */
  models: z.array(z.string()),
  /** Tensors of the result. */
  tensors: count,
  /** Numbers of the result. */
  parameters: count,
  /** Bytes of the result. */
  bytes: count,
  threads: count,
  /** What the merge will hold in memory at its peak beside the program itself: an upper estimate. */
  estimatedBytes: count,
});

/** Sent when a tensor of the result is complete. */
export const TensorEvent = z.object({
  type: z.literal('tensor'),
  tensor: z.string(),
  /** Tensors that are complete, and all there are. */
  done: count,
  of: count,
  /** Share of the numbers that are complete, 0 to 1. */
  share: z.number(),
});

export const WarningEvent = z.object({
  type: z.literal('warning'),
  message: z.string(),
  tensor: z.string().optional(),
});

export const MergeEvent = z.discriminatedUnion('type', [StartEvent, TensorEvent, WarningEvent]);
export type MergeEvent = z.output<typeof MergeEvent>;
