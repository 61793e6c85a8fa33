import { compact, type Delta, f32, lowRankTerm, PeftError, scale, sum, type Term, tensorRef } from '@peftjs/core';
import * as z from 'zod';
import type { LoraContext } from './define.js';
import { defineLoraMerge } from './define-merge.js';
import { type Module, modulesOf } from './parts.js';

const sumOf = ({ inputs, kinds }: LoraContext<unknown>): Delta =>
  sum(...inputs.map(({ adapter, weight }) => scale(adapter.delta, weight, kinds)), { kinds });

/**
 * Σ wᵢ ΔWᵢ exactly: factors side by side, ranks add. Terms of other kinds stay beside them.
 */
export const cat = defineLoraMerge({
  name: 'cat',
  config: z.strictObject({}),
  combine: async (context) => ({ delta: (await compact(sumOf(context), { kinds: context.kinds })).delta }),
});

/**
 * The best approximation of Σ wᵢ ΔWᵢ of a rank, or of the smallest rank that holds a share of its energy, without
 * forming ΔW; with neither it is exact and as small as it can be.
 */
export const svd = defineLoraMerge({
  name: 'svd',
  config: z.strictObject({
    rank: z.number().int().min(1).optional().describe('Largest rank of the result.'),
    energy: z.number().gt(0).max(1).optional().describe('Share of ‖ΔW‖² to keep in every matrix.'),
  }),
  combine: ({ c: { rank, energy }, ...context }) =>
    compact(sumOf({ ...context, c: {} }), {
      kinds: context.kinds,
      rank,
      energy: rank === undefined ? (energy ?? 1) : energy,
    }),
});

/**
 * Σ wᵢ ΔWᵢ of adapters that share one frozen A (LoRA-FA, starts of one seed): only B is summed, exactly, in the same rank.
 */
export const sharedA = defineLoraMerge({
  name: 'shared-a',
  paper: 'https://arxiv.org/abs/2308.03303',
  config: z.strictObject({}),
  async combine({ inputs }) {
    const delta = { shape: new Map<string, readonly number[]>(), params: new Map<string, readonly Term[]>() };
    const differing: string[] = [];
    for await (const module of modulesOf(inputs, 'shared-a')) {
      const [{ a: first }] = module.parts as [Module['parts'][number]];
      const same = module.parts.every(({ a }) => a.rows === first.rows && a.data.every((x, i) => x === first.data[i]));
      if (!same) differing.push(module.path);
      else {
        delta.shape.set(module.path, module.shape);
        delta.params.set(module.path, [summed(module)]);
      }
    }
    if (differing.length > 0)
      throw new PeftError(
        'DELTA_CONFLICT',
        `shared-a: A is not the same in every adapter: ${differing.map((path) => `"${path}"`).join(', ')}. Use cat or svd.`,
        { details: { differing } },
      );
    return { delta };
  },
});

/** B = Σ wᵢ (sᵢ/s) Bᵢ with the first scale s. */
function summed({ parts, orientation }: Module): Term {
  const [{ a, b, scale: own }] = parts as [Module['parts'][number]];
  const s = own || 1;
  const out = new Float64Array(b.data.length);
  for (const part of parts) {
    const factor = (part.weight * part.scale) / s;
    for (let i = 0; i < out.length; i++) out[i] = out[i]! + factor * part.b.data[i]!;
  }
  const tensors = { a: tensorRef(f32([a.rows, a.columns], a.data)), b: tensorRef(f32([b.rows, b.columns], out)) };
  return lowRankTerm(tensors, { scale: s, ...orientation });
}
