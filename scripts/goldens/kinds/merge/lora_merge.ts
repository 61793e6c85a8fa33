import { lowRank, PeftError } from '@peftjs/core';
import { cat, loraMerges, mergeAdapters, sharedA } from '@peftjs/merge';
import { type LoraCase, loraKind, resultsOf } from '../../lora-merging.js';

/** Options of a preset by the names that the cases have for them. */
function optionsOf({ density, majority_sign_method: majoritySign, svd_rank: rank }: Readonly<Record<string, unknown>>) {
  const given = { density, majoritySign, rank };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function preset(type: string, parameters: Readonly<Record<string, unknown>>) {
  const found = loraMerges.get(`peft-${type}`);
  if (!found) throw new PeftError('CONFIG_UNSUPPORTED', `No combination "${type}".`);
  return found(optionsOf(parameters) as never);
}

function methodOf({ variant, parameters, expect }: LoraCase['record']) {
  if (variant === 'peft' || expect === 'refusal')
    return preset((parameters.combination_type as string | undefined) ?? 'svd', parameters);
  return variant.startsWith('exact (shared A)') ? sharedA() : cat();
}

/** How much of the first adapter's update the merged one is: ⟨merged, ΔW⟩ / ⟨ΔW, ΔW⟩ of the first module. */
async function gain({ inputs, adapters }: LoraCase, type: string): Promise<number> {
  // Just below 1, so that nothing is pruned that matters.
  const density = /ties|prune/.test(type) ? { density: 0.999999 } : {};
  const { adapter } = await mergeAdapters(preset(type, density), inputs);
  const [[path, shape]] = [...adapter.delta.shape] as [[string, readonly number[]]];
  const [merged, own] = await Promise.all(
    [adapter, adapters[0]!].map(({ delta }) => lowRank.dense(delta.params.get(path)![0]!, shape)),
  );
  let [along, whole] = [0, 0];
  for (let i = 0; i < own!.data.length; i++) {
    along += Number(merged!.data[i]) * Number(own!.data[i]);
    whole += Number(own!.data[i]) ** 2;
  }
  return along / whole;
}

async function gains(merge: LoraCase): Promise<string[]> {
  const problems: string[] = [];
  const wanted = (merge.record.values?.gain_of_the_merged_update ?? {}) as Readonly<Record<string, number>>;
  for (const [type, want] of Object.entries(wanted)) {
    const got = await gain(merge, type);
    // The largest of two n values may leave one out: gains differ from round numbers by the smallest element.
    if (!(Math.abs(got - want) < 1e-2 * want)) problems.push(`${type}: gain ${got}, expected ${want}`);
  }
  return problems;
}

export const run = loraKind(async ({ record, inputs, keep }) => {
  const { adapter } = await mergeAdapters(methodOf(record), inputs, keep && { keep });
  return resultsOf(adapter);
}, gains);
