import type { Target } from '@peftjs/core';
import type { TensorRef } from '@peftjs/core/tensor';
import type { RawConfig } from './config.js';

/** A size of every layer, by layer number. */
type Sizes = readonly number[];

/** Rows of the layers' weights of a role, in units. */
function sizesOf(
  targets: readonly Target[],
  parameters: ReadonlyMap<string, TensorRef>,
  role: NonNullable<Target['role']>,
): Sizes {
  const own = targets.filter((target) => target.role === role && target.layer !== undefined);
  return own
    .sort((a, b) => a.layer! - b.layer!)
    .map(({ path, headDim }) => parameters.get(`${path}.weight`)!.shape[0]! / (role === 'up' ? 1 : (headDim ?? 1)));
}

const agreed = (sizes: Sizes): number | undefined => (new Set(sizes).size === 1 ? sizes[0] : undefined);

/**
 * The configuration of a pruned model: its sizes under the names that readers know, where all layers have the same
 * (`intermediate_size`; the numbers of heads, where `head_dim` is given and not worked out from them). Sizes that these
 * cannot say stand under `peftjs_pruned`, a number for each layer, and the names keep what the base says: another reader
 * finds tensors of other shapes and refuses them.
 */
export function prunedConfig(
  raw: RawConfig,
  { targets, parameters }: { readonly targets: readonly Target[]; readonly parameters: ReadonlyMap<string, TensorRef> },
): RawConfig {
  const fixedHeads = typeof raw.head_dim === 'number';
  const known = [
    ['up', 'intermediate_size', true],
    ['query', 'num_attention_heads', fixedHeads],
    ['key', 'num_key_value_heads', fixedHeads],
  ] as const;
  const said: Record<string, unknown> = {};
  const left: Record<string, Sizes> = {};
  for (const [role, name, sayable] of known) {
    const sizes = sizesOf(targets, parameters, role);
    const configured = raw[name] ?? (role === 'key' ? raw.num_attention_heads : undefined);
    if (sizes.every((size) => size === configured)) continue;
    const all = agreed(sizes);
    if (sayable && all !== undefined && typeof configured === 'number') said[name] = all;
    else left[name] = sizes;
  }
  return { ...raw, ...said, ...(Object.keys(left).length > 0 && { peftjs_pruned: left }) };
}
