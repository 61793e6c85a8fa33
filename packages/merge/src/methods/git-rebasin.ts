import { Problems } from '@peftjs/core';
import * as z from 'zod';
import type { WholeModel } from '../define.js';
import { defineMerge } from '../define-merge.js';
import { assign } from '../rebasin/assign.js';
import { permuteTensor, similarity } from '../rebasin/permute.js';
import { weightedSum } from '../vectors/sum.js';
import { sumProblems } from './options.js';

const axis = z.number().int().nonnegative();

export const GitRebasinConfig = z.strictObject({
  permutations: z.record(z.string(), z.array(z.tuple([z.string(), axis])).min(1)).meta({
    description: 'For each permutation of hidden units: the tensors and axes that it permutes together.',
  }),
  order: z
    .array(z.array(axis))
    .min(1)
    .optional()
    .meta({ description: 'The order of the permutations in each sweep, repeated; default random from the seed.' }),
  maxSweeps: z.number().int().positive().default(100).meta({ description: 'Most sweeps over all permutations.' }),
});
export type RebasinSettings = z.output<typeof GitRebasinConfig>;

/** A gain below this is none. */
const noGain = 1e-12;

/** Which permutation acts on each axis of each tensor. */
function actions({ permutations }: RebasinSettings): Map<string, Map<number, string>> {
  const found = new Map<string, Map<number, string>>();
  for (const [name, places] of Object.entries(permutations))
    for (const [tensor, at] of places)
      found.set(tensor, (found.get(tensor) ?? new Map<number, string>()).set(at, name));
  return found;
}

/** What of the specification does not fit the models. */
function specProblems({ permutations }: RebasinSettings, model: WholeModel): string[] {
  return Object.entries(permutations).flatMap(([name, places]) => {
    const sizes = places.map(([tensor, at]) => model.get(tensor)?.shape[at]);
    const missing = places.filter((_, i) => sizes[i] === undefined);
    if (missing.length > 0)
      return [
        `permutation "${name}" names ${missing.map(([t, at]) => `"${t}" axis ${at}`).join(', ')}, which there is not`,
      ];
    return new Set(sizes).size === 1 ? [] : [`the axes of permutation "${name}" have sizes ${sizes.join(', ')}`];
  });
}

export type Permutations = Map<string, Uint32Array>;

/**
 * Weight matching (Ainsworth et al. 2023, algorithm 1): permutations of b's hidden units under which it is nearest to a,
 * found one at a time with the others held. Entry i of a permutation is the unit of b that comes to place i.
 */
export function matchWeights(
  a: WholeModel,
  b: WholeModel,
  c: RebasinSettings,
  orderOf: (sweep: number) => ArrayLike<number>,
): Permutations {
  const names = Object.keys(c.permutations);
  const acting = actions(c);
  const found: Permutations = new Map(
    names.map((name) => {
      const [tensor, at] = c.permutations[name]![0]!;
      return [name, Uint32Array.from({ length: a.get(tensor)!.shape[at]! }, (_, i) => i)];
    }),
  );
  for (let sweep = 0; sweep < c.maxSweeps; sweep++) {
    let improved = false;
    for (const index of Array.from(orderOf(sweep))) {
      const name = names[index]!;
      const n = found.get(name)!.length;
      const gains = new Float64Array(n * n);
      for (const [tensor, at] of c.permutations[name]!) {
        const others = [...acting.get(tensor)!].filter(([place]) => place !== at);
        const moved = permuteTensor(
          b.get(tensor)!,
          new Map(others.map(([place, other]) => [place, found.get(other)!])),
        );
        similarity(a.get(tensor)!, moved, at, gains);
      }
      const total = (order: Uint32Array) => order.reduce((sum, j, i) => sum + gains[i * n + j]!, 0);
      const best = assign(gains, n);
      if (total(best) > total(found.get(name)!) + noGain) {
        found.set(name, best);
        improved = true;
      }
    }
    if (!improved) break;
  }
  return found;
}

/**
 * Merges two independently trained networks: the second one's hidden units are put into the order of the first, then
 * both are averaged by their weights. Of no use to fine-tuned models of one base, whose units already agree.
 */
export const gitRebasin = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'git_rebasin',
  paper: 'https://arxiv.org/abs/2209.04836',
  config: GitRebasinConfig,
  base: 'none',
  models: { min: 2, max: 2 },
  ordered: true,
  check({ weights, c }) {
    const names = Object.keys(c.permutations);
    const wrong = (c.order ?? []).filter(
      (order) => [...order].sort((x, y) => x - y).join() !== names.map((_, i) => i).join(),
    );
    const orders = wrong.map((order) => `order ${order.join(', ')} is not one of all ${names.length} permutations`);
    return [...(names.length > 0 ? [] : ['it needs at least one permutation']), ...orders, ...sumProblems(weights)];
  },
  whole({ models, weights, c, rng }) {
    const [a, b] = models as readonly [WholeModel, WholeModel];
    const problems = new Problems();
    for (const problem of specProblems(c, a)) problems.add(problem);
    problems.throwIfAny('CONFIG_INVALID', 'git_rebasin');
    const count = Object.keys(c.permutations).length;
    const orderOf = (sweep: number) =>
      c.order ? c.order[sweep % c.order.length]! : rng.fork('sweep', sweep).permutation(count);
    const found = matchWeights(a, b, c, orderOf);
    const acting = actions(c);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return new Map(
      [...a].map(([name, { data }]) => {
        const axes = new Map([...(acting.get(name) ?? [])].map(([at, permutation]) => [at, found.get(permutation)!]));
        return [
          name,
          weightedSum(
            [data, permuteTensor(b.get(name)!, axes).data],
            weights.map((weight) => weight / total),
          ),
        ];
      }),
    );
  },
});
