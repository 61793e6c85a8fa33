import {
  f32,
  keptRank,
  lowRankTerm,
  type Matrix,
  matmul,
  Problems,
  reportOf,
  sumOfSquares,
  svdOfDense,
  type Term,
  type Truncated,
  tensorRef,
  termOfSvd,
  transpose,
} from '@peftjs/core';
import type { LoraContext, LoraMerged } from './define.js';
import type { Place } from './draws.js';
import { type Module, modulesOf, type Part } from './parts.js';
import { disjointMean, type Election, largest, masked, weightedSum } from './rules.js';

/** What happens to the numbers of each adapter, and how those of several become one. */
export interface Rule {
  /** Keep the largest, or draw which to keep and divide by the density (DARE). Default: keep all. */
  readonly prune?: 'magnitude' | 'random';
  /** Elect signs and average (TIES). Default: the weighted sum. */
  readonly elect?: boolean;
}

export interface RuleConfig {
  readonly density?: number | undefined;
  readonly majoritySign?: Election | undefined;
  readonly rank?: number | undefined;
}

type Context = LoraContext<RuleConfig>;

/** @param place of the numbers of each adapter */
function combine(
  xs: readonly { readonly x: Matrix; readonly place: Omit<Place, 'shape' | 'density'> }[],
  weights: readonly number[],
  { prune, elect }: Rule,
  { c: { density = 1, majoritySign = 'total' }, keep }: Context,
): Matrix {
  const pruned = xs.map(({ x: { rows, columns, data }, place }) => {
    if (!prune || density >= 1) return data;
    if (prune === 'magnitude') return masked(data, largest(data, Math.trunc(density * data.length)));
    return masked(data, keep({ ...place, shape: [rows, columns], density }), 1 / density);
  });
  const data = elect ? disjointMean(pruned, weights, majoritySign) : weightedSum(pruned, weights);
  return { ...xs[0]!.x, data };
}

const refOf = ({ rows, columns, data }: Matrix) => tensorRef(f32([rows, columns], data));

/** A rule on A and on B, each for itself: the product of the results has cross terms Bᵢ Aⱼ. */
export async function onFactors(name: string, rule: Rule, context: Context): Promise<LoraMerged> {
  const problems = new Problems();
  const made = new Map<string, Term>();
  const shape = new Map<string, readonly number[]>();
  for await (const { path, shape: own, parts, orientation } of modulesOf(context.inputs, name)) {
    const ranks = new Set(parts.map(({ a }) => a.rows));
    if (ranks.size > 1) {
      problems.add(`"${path}" has ranks ${[...ranks].join(' and ')}. Use cat or svd, which take any ranks.`);
      continue;
    }
    // c = w s is shared between the factors; its sign goes to A.
    const c = parts.map(({ weight, scale }) => weight * scale);
    const side = (part: 'a' | 'b', weights: readonly number[]) =>
      combine(
        parts.map(({ input, ...p }) => ({ x: p[part], place: { input, path, part } })),
        weights,
        rule,
        context,
      );
    const a = side(
      'a',
      c.map((x) => Math.sign(x) * Math.sqrt(Math.abs(x))),
    );
    const b = side(
      'b',
      c.map((x) => Math.sqrt(Math.abs(x))),
    );
    shape.set(path, own);
    made.set(path, lowRankTerm({ a: refOf(a), b: refOf(b) }, { scale: 1, ...orientation }));
  }
  problems.throwIfAny('DELTA_CONFLICT', `${name} needs equal ranks`);
  return { delta: { shape, params: new Map([...made].map(([path, term]) => [path, [term]])) } };
}

/** A = [cᵢ Aᵢ] over B = [Bᵢ]: the exact sum. */
export async function sideBySide(name: string, { inputs }: Context): Promise<LoraMerged> {
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for await (const { path, shape: own, parts, orientation } of modulesOf(inputs, name)) {
    shape.set(path, own);
    const a = stacked(parts.map(({ a, weight, scale }) => ({ ...a, data: a.data.map((x) => weight * scale * x) })));
    const b = transpose(stacked(parts.map(({ b }) => transpose(b))));
    params.set(path, [lowRankTerm({ a: refOf(a), b: refOf(b) }, { scale: 1, ...orientation })]);
  }
  return { delta: { shape, params } };
}

function stacked(all: readonly Matrix[]): Matrix {
  const { columns } = all[0]!;
  const rows = all.reduce((sum, x) => sum + x.rows, 0);
  const data = new Float64Array(rows * columns);
  let at = 0;
  for (const x of all) {
    data.set(x.data, at);
    at += x.data.length;
  }
  return { rows, columns, data };
}

/** A rule on the whole updates, truncated to a rank: the largest of the inputs' unless one is given. */
export async function onDeltas(name: string, rule: Rule, context: Context): Promise<LoraMerged> {
  const { rank = largestRank(context) } = context.c;
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  const truncated = new Map<string, Truncated>();
  for await (const { path, shape: own, parts, orientation } of modulesOf(context.inputs, name)) {
    const xs = parts.map((part) => ({
      x: whole(part, orientation),
      place: { input: part.input, path, part: 'delta' as const },
    }));
    const sum = combine(
      xs,
      parts.map(({ weight }) => weight),
      rule,
      context,
    );
    const energy = sumOfSquares(sum.data);
    const decomposition = svdOfDense(sum, { rank });
    const kept = keptRank(decomposition.s, { rank }, energy);
    shape.set(path, own);
    params.set(path, [termOfSvd(decomposition, kept.rank, orientation)]);
    truncated.set(path, { ...kept, energy });
  }
  return { delta: { shape, params }, report: reportOf(truncated) };
}

/** s B A in the parameter's own layout. */
function whole({ a, b, scale }: Part, orientation: Module['orientation']): Matrix {
  const made = matmul(b, a);
  const scaled = { ...made, data: made.data.map((x) => scale * x) };
  return orientation.transposed ? transpose(scaled) : scaled;
}

export const largestRank = ({ inputs }: Pick<Context, 'inputs'>): number =>
  Math.max(
    1,
    ...inputs.flatMap(({ adapter }) =>
      [...adapter.delta.params.values()].flatMap((terms) => terms.map(({ tensors }) => tensors.a?.shape[0] ?? 1)),
    ),
  );
