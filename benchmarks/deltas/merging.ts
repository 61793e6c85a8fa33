/**
 * Every way to merge that takes updates without their base: on whole updates, and on low-rank factors. Left out are those
 * that decompose or permute whole models: updates of low rank have no unique decomposition.
 */
import { type Adapter, type Delta, isPeftError } from '@peftjs/core';
import { builtinMerges, loraMerges, merge, mergeAdapters } from '@peftjs/merge';

/** Options of methods that have none by default, or whose default does nothing; all others run as they are. */
const options: Readonly<Record<string, object>> = {
  task_arithmetic: { lambda: 0.4 },
  ties: { density: 0.2 },
  dare: { density: 0.5, lambda: 0.4 },
  della: { density: 0.5, epsilon: 0.2, lambda: 0.4 },
  breadcrumbs: { density: 0.9, gamma: 0.01, lambda: 0.4 },
  sce: { selectTopk: 0.5 },
  ema: { decay: 0.5 },
  'peft-ties': { density: 0.5 },
  'peft-ties_svd': { density: 0.5 },
  'peft-dare_linear': { density: 0.5 },
  'peft-dare_ties': { density: 0.5 },
  'peft-dare_linear_svd': { density: 0.5 },
  'peft-dare_ties_svd': { density: 0.5 },
  'peft-magnitude_prune': { density: 0.5 },
  'peft-magnitude_prune_svd': { density: 0.5 },
};

export interface Merged {
  readonly name: string;
  readonly options: object;
  /** What came of it, or why the method does not fit. */
  readonly made: { readonly delta: Delta } | { readonly refused: string };
}

async function attempt(name: string, act: (own: object) => Promise<Delta>): Promise<Merged> {
  const own = options[name] ?? {};
  try {
    return { name, options: own, made: { delta: await act(own) } };
  } catch (error) {
    if (!isPeftError(error)) throw error;
    return { name, options: own, made: { refused: error.message } };
  }
}

/** Shares of a third for methods that sum factors: their weights are not divided by their sum. */
export async function* mergedByAll(
  adapters: readonly Adapter[],
  seed: number,
  only?: readonly string[],
): AsyncGenerator<Merged> {
  const wanted = (name: string) => !only || only.includes(name);
  const deltas = adapters.map(({ delta }) => delta);
  for (const [name, method] of builtinMerges)
    if (wanted(name) && !method.merge.whole)
      yield attempt(name, async (own) => {
        const { delta } = await merge(method(own as never), deltas, { seed, threads: 0 }).result();
        return delta!;
      });
  const inputs = adapters.map((adapter) => ({
    input: { ...adapter, replaced: new Map() },
    weight: 1 / adapters.length,
  }));
  for (const [name, method] of loraMerges)
    if (wanted(name))
      yield attempt(name, async (own) => (await mergeAdapters(method(own as never), inputs, { seed })).adapter.delta);
}
