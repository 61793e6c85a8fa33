import * as z from 'zod';

const ratio = z.number().min(0).max(1);

const names = z.enum(['constant', 'linear', 'cosine', 'cosine-with-restarts', 'polynomial']);

/** The shape of the rate after the warm-up. A bare name stands for the shape with its defaults. */
export const ScheduleConfig = z.union(
  [
    names,
    z.strictObject({
      name: z.literal('cosine'),
      /** Periods of the cosine: 0.5 falls once from the full rate to zero. */
      cycles: z.number().positive().default(0.5),
    }),
    z.strictObject({
      name: z.literal('cosine-with-restarts'),
      /** How often the rate falls from full to zero, jumping back in between. */
      cycles: z.number().int().positive().default(1),
    }),
    z.strictObject({
      name: z.literal('polynomial'),
      power: z.number().positive().default(1),
      /** The rate at the end as a part of the full rate. */
      endRatio: ratio.default(0),
    }),
  ],
  { error: `must be ${names.options.join(', ')}, or one of these names with its options` },
);
export type ScheduleConfig = z.input<typeof ScheduleConfig>;

export interface Warmup {
  /** Updates over which the rate rises to its full value. */
  readonly steps: number;
  /**
   * The rate of update t is (t+1)/steps of the full one, so the first update already moves. With `fromZero` it is
   * t/steps, as in transformers: there the first update has rate 0 and its batch is spent for nothing.
   */
  readonly fromZero?: boolean;
}

/** The factor on the full rate for update t, counted from 0, of `total` updates. */
export type Schedule = (t: number) => number;

type Shape = (t: number, warmup: number, total: number) => number;

/** Position after the warm-up: 0 at its end, 1 after the last update. */
const progress = (t: number, warmup: number, total: number) => (t - warmup) / Math.max(1, total - warmup);

const constant: Shape = () => 1;
const linear: Shape = (t, warmup, total) => Math.max(0, (total - t) / Math.max(1, total - warmup));
const cosine =
  (cycles: number): Shape =>
  (t, warmup, total) =>
    Math.max(0, 0.5 * (1 + Math.cos(2 * Math.PI * cycles * progress(t, warmup, total))));
const cosineWithRestarts =
  (cycles: number): Shape =>
  (t, warmup, total) => {
    const p = progress(t, warmup, total);
    return p >= 1 ? 0 : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((cycles * p) % 1))));
  };
const polynomial =
  (power: number, endRatio: number): Shape =>
  (t, warmup, total) =>
    t > total ? endRatio : (1 - endRatio) * Math.max(0, 1 - progress(t, warmup, total)) ** power + endRatio;

const shapeOf = (config: ScheduleConfig): Shape => {
  const { name, ...rest } = typeof config === 'string' ? { name: config } : config;
  const options: { cycles?: number; power?: number; endRatio?: number } = rest;
  switch (name) {
    case 'constant':
      return constant;
    case 'linear':
      return linear;
    case 'cosine':
      return cosine(options.cycles ?? 0.5);
    case 'cosine-with-restarts':
      return cosineWithRestarts(options.cycles ?? 1);
    case 'polynomial':
      return polynomial(options.power ?? 1, options.endRatio ?? 0);
    default:
      return name satisfies never;
  }
};

/**
 * The rate of every update as a factor. With `linear` and a warm-up of w steps out of n it is
 * min((t+1)/w, (n−t)/(n−w)); the shapes after the warm-up are those of transformers.
 */
export function createSchedule(config: ScheduleConfig, total: number, warmup: Warmup = { steps: 0 }): Schedule {
  const shape = shapeOf(config);
  const offset = warmup.fromZero ? 0 : 1;
  return (t) => (t < warmup.steps ? (t + offset) / warmup.steps : shape(t, warmup.steps, total));
}

/** Warm-up updates of a run: given as a number, or as a part of all updates (rounded to the nearest). */
export const warmupSteps = (total: number, options: { warmupSteps?: number; warmupRatio?: number }): number =>
  options.warmupSteps ?? Math.round((options.warmupRatio ?? 0) * total);
