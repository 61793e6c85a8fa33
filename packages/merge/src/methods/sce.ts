import * as z from 'zod';
import type { Chunk, Reducer, TensorContext } from '../define.js';
import { defineMerge } from '../define-merge.js';
import { floats } from '../kernels/index.js';
import { isIn, magnitudeBits } from '../select.js';
import { consensus } from '../vectors/consensus.js';
import { addToBase, taskVector } from '../vectors/delta.js';
import { noWeights } from './options.js';

export const SceConfig = z.strictObject({
  selectTopk: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .meta({ description: 'Fraction of the elements that differ between models which is kept, by variance.' }),
  uniformBelow: z.number().nonnegative().default(0).meta({
    description:
      'Weigh models equally when their mean squares sum to less; mergekit has 1e-6, which small updates fall under.',
  }),
});
type Settings = z.output<typeof SceConfig>;

const all = (chunk: Chunk): Float32Array[] => chunk.models.map((_, i) => taskVector(chunk, i));

/** Standard deviation over models, element by element: orders like the variance and does not underflow in float32. */
function deviation(taus: readonly Float32Array[]): Float32Array {
  const n = taus.length;
  const out = floats(taus[0]!.length);
  for (let j = 0; j < out.length; j++) {
    let mean = 0;
    for (const tau of taus) mean += tau[j]! / n;
    let sum = 0;
    for (const tau of taus) sum += (tau[j]! - mean) ** 2;
    out[j] = Math.sqrt(sum / n);
  }
  return out;
}

/** The task vectors with everything but the selected elements set to 0. */
function selected({ c, stats }: TensorContext<Settings>, chunk: Chunk): Float32Array[] {
  const taus = all(chunk);
  if (c.selectTopk === 1) return taus;
  const selection = stats.selections.kept!;
  magnitudeBits(deviation(taus)).forEach((bits, j) => {
    if (!isIn(selection, bits, chunk.offset + j)) for (const tau of taus) tau[j] = 0;
  });
  return taus;
}

/** Select by variance, calculate weights from energies, erase minority signs (FuseChat, Wan et al. 2024), per tensor. */
export const sce = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'sce',
  paper: 'https://arxiv.org/abs/2408.07990',
  config: SceConfig,
  base: 'required',
  check: ({ weights }) => noWeights(weights, 'the energies of the task vectors weigh them'),
  stats: [
    ({ c }): Record<string, Reducer> =>
      c.selectTopk === 1 ? {} : { differing: { kind: 'count', of: (chunk) => deviation(all(chunk)) } },
    ({ c, stats }): Record<string, Reducer> => {
      if (c.selectTopk === 1) return {};
      const k = () => Math.floor(stats.numbers.differing! * c.selectTopk);
      return { kept: { kind: 'largest', of: (chunk) => deviation(all(chunk)), k } };
    },
    (context) =>
      Object.fromEntries(
        context.weights.map((_, i) => {
          const of = (chunk: Chunk) => selected(context, chunk)[i]!;
          return [`energy.${i}`, { kind: 'dot', of: [of, of] }];
        }),
      ),
  ],
  combine(context) {
    const { c, stats, count, weights } = context;
    const means = weights.map((_, i) => stats.numbers[`energy.${i}`]! / count);
    const total = means.reduce((sum, mean) => sum + mean, 0);
    // No energy at all: every task vector is 0, and so is any mean of them.
    const uniform = total === 0 || total < c.uniformBelow;
    const shares = means.map((mean) => (uniform ? 1 / means.length : mean / total));
    const rule = { elect: { by: 'total', weighted: false, zero: 'plus' }, divide: 'weights' } as const;
    return addToBase(context.base!, consensus(selected(context, context), shares, rule));
  },
});
