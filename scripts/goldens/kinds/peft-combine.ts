import { join } from 'node:path';
import { type Adapter, lowRank, PeftError, scale, type Tensor } from '@peftjs/core';
import { cat, type Keep, loraMerges, mergeAdapters } from '@peftjs/merge';
import { logitsOf, openAdapter } from '../adapted.js';
import { feedsOf, masked, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext, Tensors } from '../case.js';
import { createChecks } from '../checks.js';

interface Variant {
  readonly weights: readonly number[];
  readonly combination_type: string;
  readonly adapters?: readonly string[];
  readonly density?: number;
  readonly majority_sign_method?: 'total' | 'frequency';
  readonly svd_rank?: number;
  /** What PEFT multiplies the result by; √r where it wrongly keeps rsLoRA. */
  readonly scaling: number;
}

interface CombineRecord extends CaseRecord {
  readonly adapters: Readonly<Record<string, object>>;
  readonly variants: Readonly<Record<string, Variant>>;
}

const defined = (options: object): object =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

function methodOf({ combination_type: type, density, majority_sign_method: majoritySign, svd_rank: rank }: Variant) {
  const found = loraMerges.get(`peft-${type}`);
  if (!found) throw new PeftError('CONFIG_UNSUPPORTED', `No combination "${type}".`);
  return found(defined({ density, majoritySign, rank }) as never);
}

/** The masks in the order PEFT drew them: by module, then by factor, then by adapter. */
function keepOf(inputs: Tensors, variant: string, paths: readonly string[], count: number): Keep {
  const masks = [...inputs.keys()].filter((name) => name.startsWith(`dare_mask/${variant}/`)).sort();
  const parts = masks.length === paths.length * count ? ['delta'] : ['a', 'b'];
  return ({ input, path, part }) => {
    const at = (paths.indexOf(path) * parts.length + parts.indexOf(part)) * count + input;
    return inputs.get(masks[at]!)!.data as Uint8Array;
  };
}

/** Every combination of the case: the update of each module, and the logits with it. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const record = folder.record as CombineRecord;
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const feeds = feedsOf(base, folder.inputs);
  const mask = folder.inputs.get('attention_mask');
  const all = new Map<string, Adapter>();
  for (const name of Object.keys(record.adapters))
    all.set(name, await openAdapter(base, join(folder.path, `adapter_${name}`)));
  const compare = async (prefix: string, { delta }: Adapter) => {
    for (const [path, [term]] of delta.params)
      checks.tensor(`${prefix}/${path}`, await lowRank.dense(term!, delta.shape.get(path)!));
  };
  for (const [name, variant] of Object.entries(record.variants)) {
    const inputs = (variant.adapters ?? [...all.keys()]).map((of, i) => ({
      input: all.get(of)!,
      weight: variant.weights[i]!,
    }));
    const paths = [...new Set(inputs.flatMap(({ input }) => [...input.delta.params.keys()]))].sort();
    const keep = keepOf(folder.inputs, name, paths, inputs.length);
    const { adapter } = await mergeAdapters(methodOf(variant), inputs, { keep });
    const asPeft = scale(adapter, variant.scaling);
    await compare(`${name}/delta`, asPeft);
    const logits: Tensor = await logitsOf(base, [asPeft], feeds, backend);
    const expected = folder.expected.get(`${name}/logits`)!;
    checks.tensor(`${name}/logits`, masked(logits, expected, mask));
    const exact = [...folder.expected.keys()].some((key) => key.startsWith(`${name}/exact/`));
    if (exact) await compare(`${name}/exact`, (await mergeAdapters(cat(), inputs)).adapter);
  }
  checks.done();
}
