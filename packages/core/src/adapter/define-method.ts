import type * as z from 'zod';
import { requireStamp, stamp } from '../delta/stamp.js';
import { PeftError } from '../errors.js';
import { type Resolved, resolveConfig, type SharedOptions } from './config.js';
import type { Method } from './method.js';

/** A method with its configuration: what `lora({ r: 4 })` gives and `train` takes. */
export interface Bound<Schema extends z.ZodType = z.ZodType> {
  readonly method: Method<Schema>;
  /** Shared keys and the method's own, defaults filled in. */
  readonly config: Resolved<Schema>;
}

/** What a method is called with: its own keys and those that all methods share. */
export type MethodOptions<Schema extends z.ZodType> = z.input<Schema> & SharedOptions;

export interface MethodFunction<Schema extends z.ZodType> {
  /** @throws PeftError CONFIG_INVALID listing everything wrong with the options */
  (options?: MethodOptions<Schema>): Bound<Schema>;
  readonly method: Method<Schema>;
}

/** A training method as a function of its options. The description itself is at `.method`. */
export function defineMethod<Schema extends z.ZodType>(description: Method<Schema>): MethodFunction<Schema> {
  const { name, additive, delta, weight, rewrite } = description;
  if (!delta && !weight && (additive || !rewrite))
    throw new PeftError(
      'PLUGIN_INCOMPATIBLE',
      `The method "${name}" does not say how it acts: ${additive ? 'an additive one needs delta or weight' : 'it needs delta, weight or rewrite'}.`,
    );
  const method = stamp({ ...description }, 'method', description.spec);
  const bind = (options?: MethodOptions<Schema>): Bound<Schema> =>
    stamp({ method, config: resolveConfig(method, options as Record<string, unknown>) }, 'bound-method', method.spec);
  return stamp(Object.assign(bind, { method }), 'method', method.spec);
}

/** @throws PeftError PLUGIN_INCOMPATIBLE for anything but what a method of this contract returned */
export const requireBound = (bound: Bound): void =>
  requireStamp(bound, 'bound-method', 'v1', `The method "${bound?.method?.name ?? String(bound)}"`);
