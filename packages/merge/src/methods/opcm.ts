import { type Matrix, matmul, type Svd, svd, transpose } from '@peftjs/core';
import * as z from 'zod';
import type { WholeContext, WholeModel } from '../define.js';
import { defineMerge } from '../define-merge.js';
import { noWeights } from './options.js';

export const OpcmConfig = z.strictObject({
  alpha: z.number().min(0).max(1).default(0.5).meta({
    description: "Share of the merged update's singular values that a new task may not enter.",
  }),
  linear: z.array(z.string()).optional().meta({
    description: 'Paths of the matrices that are projected; default all tensors of two axes. Others are added.',
  }),
});
type Settings = z.output<typeof OpcmConfig>;
type Update = Map<string, Float64Array>;

const norm = (update: Update): number =>
  Math.sqrt([...update.values()].reduce((sum, x) => sum + x.reduce((inner, value) => inner + value * value, 0), 0));

const updateOf = (model: WholeModel, base: WholeModel): Update =>
  new Map(
    [...model].map(([name, { data }]) => {
      const from = base.get(name)!.data;
      return [name, Float64Array.from(data, (x, j) => x - from[j]!)];
    }),
  );

/** First index at which the cumulated singular values exceed the share α; 0 when none does. */
function splitRank(s: Float64Array, alpha: number): number {
  const total = s.reduce((sum, x) => sum + x, 0);
  let sum = 0;
  return Math.max(
    0,
    s.findIndex((x) => {
      sum += x;
      return sum / total > alpha;
    }),
  );
}

const firstColumns = ({ rows, columns, data }: Matrix, count: number): Matrix => ({
  rows,
  columns: count,
  data: Float64Array.from({ length: rows * count }, (_, i) => data[Math.floor(i / count) * columns + (i % count)]!),
});

/**
 * τ without the parts U P Vᵀ (P = Uᵀ τ V) in which P is of the leading r × r block or on the diagonal. They are
 * subtracted, so the thin factors do; the diagonal counts up to the numerical rank, beyond which U and V are arbitrary.
 */
function project(tau: Float64Array, { u, s, v }: Svd, r: number): Float64Array {
  const [rows, columns] = [u.rows, v.rows];
  const tolerance = Math.max(rows, columns) * Number.EPSILON * (s[0] ?? 0);
  const rank = s.filter((x) => x > tolerance).length;
  const [us, vs] = [firstColumns(u, rank), firstColumns(v, rank)];
  const p = matmul(matmul(transpose(us), { rows, columns, data: tau }), vs);
  const removed = p.data.map((x, at) => {
    const [i, j] = [Math.floor(at / rank), at % rank];
    return i === j || (i < r && j < r) ? x : 0;
  });
  const inside = matmul(matmul(us, { rows: rank, columns: rank, data: removed }), transpose(vs));
  return tau.map((x, j) => x - inside.data[j]!);
}

/** One more task: τ_m <- λ τ_m + τ, each matrix of τ projected away from what τ_m already uses. */
function join(merged: Update, task: Update, lambda: number, { c, models }: WholeContext<Settings>): Update {
  const isLinear = (name: string) => c.linear?.includes(name) ?? models[0]!.get(name)!.shape.length === 2;
  return new Map(
    [...task].map(([name, tau]) => {
      const known = merged.get(name)!;
      const [rows, columns] = models[0]!.get(name)!.shape as [number, number];
      let fresh = tau;
      if (isLinear(name) && known.some((x) => x !== 0)) {
        const factors = svd({ rows, columns, data: known });
        fresh = project(tau, factors, splitRank(factors.s, c.alpha));
      }
      return [name, known.map((x, j) => lambda * x + fresh[j]!)];
    }),
  );
}

/**
 * Merges tasks one after another by orthogonal projection (Tang et al. 2025): each is kept out of the directions that
 * matter most to those before, and the sum is scaled to the mean length of the tasks. The order of the models matters.
 */
export const opcm = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'opcm',
  paper: 'https://arxiv.org/abs/2501.09522',
  config: OpcmConfig,
  base: 'required',
  ordered: true,
  check: ({ weights }) => noWeights(weights, 'all tasks count the same'),
  whole(context) {
    const { models, base, c, warn } = context;
    for (const name of c.linear ?? [])
      if (models[0]!.get(name)?.shape.length !== 2) warn(`"${name}" is no matrix of these models and is not projected`);
    const tasks = models.map((model) => updateOf(model, base!));
    let merged = tasks[0]!;
    let lambda = 1;
    let lengths = norm(merged);
    tasks.slice(1).forEach((task, i) => {
      const sum = join(merged, task, lambda, context);
      lengths += norm(task);
      const mean = lengths / (i + 2);
      lambda = mean > 0 ? norm(sum) / mean : 1;
      merged = new Map([...sum].map(([name, x]) => [name, lambda > 0 ? x.map((value) => value / lambda) : x]));
    });
    return new Map([...merged].map(([name, x]) => [name, base!.get(name)!.data.map((value, j) => value + x[j]!)]));
  },
});
