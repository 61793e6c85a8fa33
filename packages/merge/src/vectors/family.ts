import type { Chunk, CombineContext, Reducer, Scope, Selection, TensorContext } from '../define.js';
import { scale } from '../kernels/index.js';
import { consensus, electedSigns, linearShares, type Rule } from './consensus.js';
import { addToBase, taskVector, taskVectorOf } from './delta.js';
import { weightedSum } from './sum.js';

/** A set of largest |τ| that a model's sparsifier asks for. */
export interface Wanted {
  readonly k: (count: number) => number;
  readonly scope?: Scope;
}

/** What a sparsifier works with. */
export interface Thinning<S> {
  readonly context: TensorContext<S>;
  readonly chunk: Chunk;
  /** Which model. */
  readonly i: number;
  /** The set asked for under this name. */
  readonly selection: (name: string) => Selection;
}

/** How one method of the family θ₀ + λ·consensus(w, sparsify(τ)) goes about a tensor. */
export interface Plan<S> {
  /** Sets of largest magnitudes of model i that `sparsify` asks, by name. */
  readonly wanted?: (i: number) => Readonly<Record<string, Wanted>>;
  /** Thins τ out in place. */
  readonly sparsify?: (tau: Float32Array, thinning: Thinning<S>) => void;
  /** Whether τ̂ is brought back to the tensor's ‖τ‖₁. */
  readonly keepNorm?: boolean;
  readonly rule: Rule;
  readonly lambda: number;
}

type PlanOf<S> = (context: TensorContext<S>) => Plan<S>;

function sparse<S>(plan: Plan<S>, context: TensorContext<S>, chunk: Chunk, i: number): Float32Array {
  const tau = taskVector(chunk, i);
  plan.sparsify?.(tau, { context, chunk, i, selection: (name) => context.stats.selections[`${name}.${i}`]! });
  return tau;
}

/** τ̂ of model i with its factor: ‖τ‖₁ / ‖τ̂‖₁ where the plan keeps norms. */
function thinned<S>(plan: Plan<S>, context: TensorContext<S>, chunk: Chunk, i: number): Float32Array {
  const tau = sparse(plan, context, chunk, i);
  if (!plan.keepNorm) return tau;
  const { numbers } = context.stats;
  const after = numbers[`after.${i}`]!;
  const factor = after > 0 ? numbers[`before.${i}`]! / after : 1;
  if (factor !== 1) scale(tau, factor);
  return tau;
}

const perModel = <S>(
  { weights }: TensorContext<S>,
  ask: (i: number) => Record<string, Reducer>,
): Record<string, Reducer> => Object.assign({}, ...weights.map((_, i) => ask(i)));

/** The rounds and the combination of a method of the family. */
export function taskVectorFamily<S>(planOf: PlanOf<S>): {
  stats: ((context: TensorContext<S>) => Readonly<Record<string, Reducer>>)[];
  combine: (context: CombineContext<S>) => Float32Array;
} {
  const selections = (context: TensorContext<S>) => {
    const { wanted } = planOf(context);
    if (!wanted) return {};
    return perModel(context, (i) =>
      Object.fromEntries(
        Object.entries(wanted(i)).map(([name, { k, scope = 'tensor' }]) => [
          `${name}.${i}`,
          { kind: 'largest', of: taskVectorOf(i), k, scope },
        ]),
      ),
    );
  };
  const norms = (context: TensorContext<S>) => {
    const plan = planOf(context);
    if (!plan.keepNorm) return {};
    return perModel(context, (i) => ({
      [`before.${i}`]: { kind: 'norm1', of: taskVectorOf(i) },
      [`after.${i}`]: { kind: 'norm1', of: (chunk) => sparse(plan, context, chunk, i) },
    }));
  };
  const all = (plan: Plan<S>, context: TensorContext<S>, chunk: Chunk) =>
    context.weights.map((_, i) => thinned(plan, context, chunk, i));
  const majority = (context: TensorContext<S>): Record<string, Reducer> => {
    const plan = planOf(context);
    if (!plan.rule.elect || plan.rule.elect.zero === 'plus') return {};
    const of = (chunk: Chunk) => electedSigns(all(plan, context, chunk), context.weights, plan.rule, 0);
    return { votes: { kind: 'sum', of, scope: 'model' } };
  };
  return {
    stats: [selections, norms, majority],
    combine(context) {
      const plan = planOf(context);
      const { rule, lambda } = plan;
      const { base, weights, stats } = context;
      const taus = all(plan, context, context);
      if (rule.elect) {
        const sign = Math.sign(stats.numbers.votes ?? 0);
        return addToBase(base!, consensus(taus, weights, rule, sign), lambda);
      }
      const shares = linearShares(weights, rule).map((share) => lambda * share);
      return weightedSum([base!, ...taus], [1, ...shares]);
    },
  };
}
