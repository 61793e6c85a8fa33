import {
  concatFactors,
  type Delta,
  f32,
  lowRankTerm,
  type Matrix,
  matmul,
  svdOfFactors,
  type Term,
  tensorRef,
  transpose,
} from '@peftjs/core';
import * as z from 'zod';
import type { LoraContext } from './define.js';
import { defineLoraMerge } from './define-merge.js';
import { type Module, modulesOf } from './parts.js';
import { disjointMean, largest, masked, weightedSum } from './rules.js';

const config = z.strictObject({
  merge: z.enum(['ties', 'task-vectors']).default('ties').describe('Elect signs among the adapters, or take them all.'),
  reduce: z.enum(['mean', 'sum']).default('mean').describe('What task vectors become; TIES always takes the mean.'),
  density: z.number().gt(0).max(1).default(1).describe('Share of the largest numbers of each adapter that stays.'),
  drop: z.number().min(0).lt(1).default(0).describe('Chance of each number to be dropped at random before (DARE).'),
  cutoff: z.number().min(0).default(1e-5).describe('Singular values up to this are no part of the basis.'),
});

type Config = z.output<typeof config>;

/** One parameter on the basis that all adapters share: ΔWᵢ = U blockᵢ. */
interface Shared {
  readonly module: Module;
  readonly u: Matrix; // out × k
  readonly blocks: readonly Matrix[]; // k × in, one a part
}

/**
 * KnOTS (Stoica et al. 2025): the SVD of [ΔW₁ | … | ΔWₙ] = U Σ [V₁ᵀ | … | Vₙᵀ] aligns the adapters on one basis U, and the
 * blocks Σ Vᵢᵀ are merged there, over all parameters at once; the result has factors U and the merged block.
 * NOTE: each adapter has its own weight; the released code takes the first one's for all. The stacked matrix of rank
 * Σ rᵢ is never formed: U comes from the factors.
 */
export const knots = defineLoraMerge({
  name: 'knots',
  paper: 'https://arxiv.org/abs/2410.19735',
  config,
  async combine(context) {
    const all: Shared[] = [];
    for await (const module of modulesOf(context.inputs, 'knots')) all.push(onSharedBasis(module, context.c.cutoff));
    const kept = context.inputs.map((_, input) => survivors(all, input, context));
    const delta = { shape: new Map<string, readonly number[]>(), params: new Map<string, readonly Term[]>() };
    for (const shared of all) {
      const { path, shape } = shared.module;
      delta.shape.set(path, shape);
      delta.params.set(path, [
        mergeBlocks(
          shared,
          kept.map((of) => of.get(path)),
          context.c,
        ),
      ]);
    }
    return { delta: delta satisfies Delta };
  },
});

/** U from the factors of [c₁B₁A₁ | …]: the left side is [c₁B₁ | …], the right one has the Aᵢ on its diagonal. */
function onSharedBasis(module: Module, cutoff: number): Shared {
  const scaled = module.parts.map(({ a, b, scale }) => ({ a, b: { ...b, data: b.data.map((x) => scale * x) } }));
  const left = concatFactors(scaled.map(({ a, b }) => ({ left: b, right: a }))).left;
  const basis = svdOfFactors({ left, right: diagonal(scaled.map(({ a }) => a)) });
  const k = basis.s.reduce((count, s) => (s > cutoff ? count + 1 : count), 0);
  const u = firstColumns(basis.u, Math.max(1, k)); // files have no rank 0
  return { module, u, blocks: scaled.map(({ a, b }) => matmul(matmul(transpose(u), b), a)) };
}

/** The matrices along the diagonal of one, zeros elsewhere. */
function diagonal(all: readonly Matrix[]): Matrix {
  const rows = all.reduce((sum, x) => sum + x.rows, 0);
  const columns = all.reduce((sum, x) => sum + x.columns, 0);
  const data = new Float64Array(rows * columns);
  let [row, column] = [0, 0];
  for (const x of all) {
    for (let i = 0; i < x.rows; i++)
      data.set(x.data.subarray(i * x.columns, (i + 1) * x.columns), (row + i) * columns + column);
    row += x.rows;
    column += x.columns;
  }
  return { rows, columns, data };
}

function firstColumns({ rows, columns, data }: Matrix, k: number): Matrix {
  const out = new Float64Array(rows * k);
  for (let i = 0; i < rows; i++) out.set(data.subarray(i * columns, i * columns + k), i * k);
  return { rows, columns: k, data: out };
}

/** The blocks of one adapter after its draws and its trim over all parameters together, by path. */
function survivors(
  all: readonly Shared[],
  input: number,
  { c: { density, drop }, keep }: LoraContext<Config>,
): Map<string, Float64Array> {
  const own = all.flatMap(({ module: { parts, path }, blocks }) => {
    const block = blocks[parts.findIndex((part) => part.input === input)];
    return block ? [{ path, block }] : [];
  });
  const drawn = own.map(({ path, block: { rows, columns, data } }) => {
    if (drop === 0) return data;
    const mask = keep({ input, path, part: 'block', shape: [rows, columns], density: 1 - drop });
    return masked(data, mask, 1 / (1 - drop));
  });
  const count = drawn.reduce((sum, x) => sum + x.length, 0);
  const whole = new Float64Array(count);
  let end = 0;
  for (const x of drawn) {
    whole.set(x, end);
    end += x.length;
  }
  // The released code keeps one more than the share says.
  const trimmed = density < 1 ? masked(whole, largest(whole, Math.trunc(count * density) + 1)) : whole;
  let at = 0;
  return new Map(
    own.map(({ path }, i) => {
      const from = at;
      at += drawn[i]!.length;
      return [path, trimmed.subarray(from, at)];
    }),
  );
}

function mergeBlocks(
  { module, u, blocks }: Shared,
  kept: readonly (Float64Array | undefined)[],
  { merge, reduce }: Config,
): Term {
  const { parts, orientation } = module;
  const xs = parts.map(({ input }) => kept[input]!);
  const weights = parts.map(({ weight }) => weight);
  const shares = reduce === 'mean' ? weights.map((w) => w / parts.length) : weights;
  const data = merge === 'ties' ? disjointMean(xs, weights, 'total') : weightedSum(xs, shares);
  const right = blocks[0]!;
  const tensors = {
    a: tensorRef(f32([right.rows, right.columns], data)),
    b: tensorRef(f32([u.rows, u.columns], u.data)),
  };
  return lowRankTerm(tensors, { scale: 1, ...orientation });
}
