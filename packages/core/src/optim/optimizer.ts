import * as z from 'zod';
import { stamp } from '../delta/stamp.js';
import { Problems } from '../errors.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import type { Tensor } from '../tensor/tensor.js';

/** What an optimizer keeps for one parameter between updates, by letter (`m`, `v`). */
export type State<T> = Readonly<Record<string, T>>;

/** What is known on the host at an update, for one group of parameters. */
export interface GroupStep {
  /** Number of the update, from 1. */
  readonly step: number;
  /** The scheduled rate. */
  readonly rate: number;
  /** Weight decay of the group; whether it is 0 stays the same over a run. */
  readonly decay: number;
}

/** One parameter within the update graph. All of `p`, `g` and `state` are f32; `p` and `g` have the same shape. */
export interface UpdateSite {
  readonly p: ShapedValue;
  readonly g: ShapedValue;
  readonly state: State<ShapedValue>;
  /** The numbers that `scalars` gave, as graph inputs of shape []. */
  readonly scalars: Readonly<Record<string, ShapedValue>>;
  /** All tensors of the parameter's target by letter, where a method brings an optimizer of its own that needs them. */
  readonly beside?: Readonly<Record<string, ShapedValue>>;
}

export interface Updated {
  readonly p: ShapedValue;
  readonly state: State<ShapedValue>;
}

/** An update rule as a graph transform: it emits operations, the backend runs them. */
export interface OptimizerDefinition<Schema extends z.ZodType = z.ZodType, C = z.output<Schema>> {
  readonly spec: 'v1';
  readonly name: string;
  readonly paper: string;
  readonly config: Schema;
  /** Every number of the result depends on the numbers at its own position only, so a tensor may be cut in slices. */
  readonly elementwise: boolean;
  /** State of a parameter of this shape before the first update, by letter. */
  init(shape: readonly number[], c: C): State<Tensor>;
  /** Numbers of one update, computed on the host in double precision. Their names do not change over a run. */
  scalars(group: GroupStep, c: C): Readonly<Record<string, number>>;
  update(site: UpdateSite, c: C, ops: Ops): Updated;
}

/** An optimizer with its configuration bound: what `train` takes. */
export interface Optimizer {
  readonly spec: 'v1';
  readonly name: string;
  readonly config: unknown;
  readonly elementwise: boolean;
  init(shape: readonly number[]): State<Tensor>;
  scalars(group: GroupStep): Readonly<Record<string, number>>;
  update(site: UpdateSite, ops: Ops): Updated;
}

/**
 * Makes the function that binds a configuration to an update rule: `adamw({ eps: 1e-6 })`.
 * @throws PeftError CONFIG_INVALID with everything wrong in the configuration (from the returned function)
 */
export function defineOptimizer<Schema extends z.ZodType>(
  definition: OptimizerDefinition<Schema>,
): (config?: z.input<Schema>) => Optimizer {
  const { spec, name, elementwise } = definition;
  return (config) => {
    const parsed = definition.config.safeParse(config ?? {});
    if (!parsed.success) {
      const problems = new Problems();
      for (const issue of parsed.error.issues) problems.add(`${issue.path.join('.') || name}: ${issue.message}`);
      problems.throwIfAny('CONFIG_INVALID', `Configuration of the optimizer ${name}`);
    }
    const c = parsed.data as z.output<Schema>;
    const bound: Optimizer = {
      spec,
      name,
      config: c,
      elementwise,
      init: (shape) => definition.init(shape, c),
      scalars: (group) => definition.scalars(group, c),
      update: (site, ops) => definition.update(site, c, ops),
    };
    return stamp(bound, 'optimizer', spec);
  };
}

/** g + decay·p: the decay of the rules that regularise the gradient (L2). */
export const withL2 = ({ p, g, scalars }: UpdateSite, ops: Ops): ShapedValue =>
  scalars.decay ? ops.add(g, ops.mul(p, scalars.decay)) : g;

/** The scalar `decay` of `withL2`, left out where it is 0. */
export const l2Scalar = (decay: number): Readonly<Record<string, number>> => (decay === 0 ? {} : { decay });

/** p·(1 − rate·decay): decay apart from the gradient (AdamW). */
export const shrink = (p: ShapedValue, scalars: UpdateSite['scalars'], ops: Ops): ShapedValue =>
  scalars.keep ? ops.mul(p, scalars.keep) : p;

/** The scalar `keep` of `shrink`, left out where nothing decays. */
export const keepScalar = ({ rate, decay }: GroupStep): Readonly<Record<string, number>> =>
  decay === 0 ? {} : { keep: 1 - rate * decay };

/** A coefficient of an exponential mean. */
export const coefficient = z.number().min(0).lt(1);
export const epsilon = z.number().positive();
