import { type Adapter, contentDigest, type Delta, PeftError, Problems, scale, sum } from '@peftjs/core';

export interface Weighted {
  readonly adapter: Adapter;
  readonly weight: number;
}

/** An adapter, with weight 1 unless another is given. */
export type LoraInput = Adapter | { readonly input: Adapter; readonly weight?: number };

/** @throws PeftError CONFIG_INVALID for no adapters or a weight that is no number */
export function weighted(inputs: readonly LoraInput[]): Weighted[] {
  if (inputs.length === 0) throw new PeftError('CONFIG_INVALID', 'There are no adapters to merge.');
  const problems = new Problems();
  const all = inputs.map((input, i) => {
    const { adapter, weight } =
      'input' in input ? { adapter: input.input, weight: input.weight ?? 1 } : { adapter: input, weight: 1 };
    if (!Number.isFinite(weight)) problems.add(`the weight of adapter ${i} is ${weight}.`);
    return { adapter, weight };
  });
  problems.throwIfAny('CONFIG_INVALID', 'The adapters to merge');
  return all;
}

const nothing: Delta = { shape: new Map(), params: new Map() };

/**
 * An adapter with the merged update, and with what the inputs replace in full, which must not meet.
 * @throws PeftError DELTA_CONFLICT, ADAPTER_MISMATCH as `sum` and `scale` do
 */
export async function assemble(inputs: readonly Weighted[], delta: Delta): Promise<Adapter> {
  const rest = inputs.map(({ adapter, weight }) => scale({ ...adapter, delta: nothing }, weight));
  const { replaced, base } = sum(...rest);
  const problems = new Problems();
  for (const path of replaced.keys())
    if (delta.params.has(path)) problems.add(`"${path}" is replaced in full by one adapter and changed by another.`);
  problems.throwIfAny('DELTA_CONFLICT', 'These adapters do not add');
  return { delta, replaced, digest: await contentDigest({ delta, replaced }), ...(base && { base }) };
}
