import * as z from 'zod';
import type { Chunk } from '../define.js';
import { defineMerge } from '../define-merge.js';
import { zeros } from '../kernels/index.js';
import { addToBase, taskVector } from '../vectors/delta.js';
import { noWeights } from './options.js';

export const RamConfig = z.strictObject({
  epsilon: z.number().nonnegative().default(1e-5).meta({ description: 'A change up to this size is none.' }),
  plus: z
    .strictObject({
      r: z.number().nonnegative().default(0.1).meta({ description: 'How much stronger unique changes may become.' }),
      alpha: z.number().nonnegative().default(0.2).meta({ description: 'Upper bound of shared over unique changes.' }),
    })
    .optional()
    .meta({ description: 'RAM+: make up for the averaging of shared changes by stronger unique ones.' }),
});

/** Which models change an element, as one number each: 1 where it is changed, and by how many in all. */
function changes(chunk: Chunk, epsilon: number): { taus: Float32Array[]; by: Uint32Array } {
  const taus = chunk.models.map((_, i) => taskVector(chunk, i));
  const by = new Uint32Array(taus[0]!.length);
  for (const tau of taus)
    tau.forEach((x, j) => {
      if (Math.abs(x) > epsilon) by[j] = by[j]! + 1;
    });
  return { taus, by };
}

/** Changes that only one model makes are kept, changes that several make are averaged over those (arXiv 2601.13572). */
export const ram = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'ram',
  paper: 'https://arxiv.org/abs/2601.13572',
  config: RamConfig,
  base: 'required',
  check: ({ weights }) => noWeights(weights, 'who changes an element decides'),
  stats: [
    ({ c, weights }) => {
      if (!c.plus) return {};
      const where = (i: number, test: (by: number) => boolean) => (chunk: Chunk) => {
        const { taus, by } = changes(chunk, c.epsilon);
        return taus[i]!.map((x, j) => (Math.abs(x) > c.epsilon && test(by[j]!) ? 1 : 0));
      };
      return Object.fromEntries(
        weights.flatMap((_, i) => [
          [`unique.${i}`, { kind: 'count', of: where(i, (by) => by === 1) }],
          [`shared.${i}`, { kind: 'count', of: where(i, (by) => by > 1) }],
        ]),
      );
    },
  ],
  combine({ c, stats: { numbers }, ...chunk }) {
    const { taus, by } = changes(chunk, c.epsilon);
    const strength = taus.map((_, i) => {
      const unique = numbers[`unique.${i}`] ?? 0;
      if (!c.plus || unique === 0) return 1;
      return 1 + c.plus.r * Math.min(c.plus.alpha, numbers[`shared.${i}`]! / unique);
    });
    const merged = zeros(by.length);
    taus.forEach((tau, i) => {
      tau.forEach((x, j) => {
        if (Math.abs(x) > c.epsilon) merged[j] = merged[j]! + (by[j] === 1 ? strength[i]! * x : x / by[j]!);
      });
    });
    return addToBase(chunk.base!, merged);
  },
});
