import { concatFactors, factorsOf, keptRank, svdOfFactors } from '@peftjs/core';
import { cat, mergeAdapters, svd } from '@peftjs/merge';
import { type LoraCase, loraKind, moduleOf, resultsOf } from '../../lora-merging.js';

interface Values {
  readonly sum_of_ranks: number;
  readonly numerical_rank: number;
  readonly singular_values: readonly number[];
  readonly discarded_energy: Readonly<Record<string, number>>;
  readonly rank_for_energy: Readonly<Record<string, number>>;
}

/** Singular values, ranks and losses of every module. */
async function check({ record, inputs }: LoraCase): Promise<string[]> {
  const problems: string[] = [];
  const { adapter } = await mergeAdapters(cat(), inputs);
  for (const [path, terms] of adapter.delta.params) {
    const want = record.values![moduleOf(path)] as Values;
    const { s } = svdOfFactors(concatFactors(await Promise.all(terms.map((term) => factorsOf(term)))));
    const note = (what: string, got: number, expected: number, limit: number) => {
      if (!(Math.abs(got - expected) <= limit))
        problems.push(`${moduleOf(path)}: ${what} ${got}, expected ${expected}`);
    };
    note('sum of ranks', terms[0]!.tensors.a!.shape[0]!, want.sum_of_ranks, 0);
    note('rank', keptRank(s, {}).rank, want.numerical_rank, 0);
    for (const [i, value] of want.singular_values.entries())
      note(`singular value ${i}`, s[i]!, value, 1e-6 * want.singular_values[0]!);
    for (const [rank, lost] of Object.entries(want.discarded_energy))
      note(`loss at rank ${rank}`, keptRank(s, { rank: Number(rank) }).discarded, lost, 1e-6); // factors are float32
    for (const [energy, rank] of Object.entries(want.rank_for_energy))
      note(`rank for ${energy}`, keptRank(s, { energy: Number(energy) }).rank, rank, 0);
  }
  return problems;
}

export const run = loraKind(async ({ inputs }) => {
  const all = await resultsOf((await mergeAdapters(cat(), inputs)).adapter);
  for (const rank of [2, 4])
    for (const [name, tensor] of await resultsOf((await mergeAdapters(svd({ rank }), inputs)).adapter))
      all.set(name.replace(/delta$/, `rank${rank}`), tensor);
  return all;
}, check);
