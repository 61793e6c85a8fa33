import type { BoundLoraMerge, LoraMerge } from './define.js';
import { cat, sharedA, svd } from './exact.js';
import { knots } from './knots.js';
import * as peft from './peft.js';

/** A way to merge adapters whatever its options: its schema checks those that come from outside. */
export interface AnyLoraMerge {
  (options?: never): BoundLoraMerge;
  readonly merge: LoraMerge;
}

/** Every way to merge adapters, by name. */
export const loraMerges: ReadonlyMap<string, AnyLoraMerge> = new Map(
  [cat, svd, sharedA, knots, ...Object.values(peft)].map((made) => [made.merge.name, made as unknown as AnyLoraMerge]),
);
