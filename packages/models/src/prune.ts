import { Problems, type Target } from '@peftjs/core';
import { alloc, type Tensor, type TensorRef, tensorRef } from '@peftjs/core/tensor';

/** What goes of one layer. */
export interface Removed {
  /** Key and value heads, each with all query heads that share it. */
  readonly heads?: readonly number[];
  /** Channels of the feed-forward block. */
  readonly channels?: readonly number[];
}

/** How a target takes part in a coupled structure: `count` units, each `width` rows (axis 0) or columns (axis 1) wide. */
interface Part {
  readonly of: keyof Removed;
  readonly axis: 0 | 1;
  readonly count: number;
  readonly width: number;
}

/** Undefined where a role has no part in heads or channels; a text where it has one that cannot be cut out. */
function partOf({
  role,
  kind,
  out,
  in: width,
  heads = 0,
  kvHeads = 0,
  headDim = 0,
}: Target): Part | string | undefined {
  const part = (of: keyof Removed, axis: 0 | 1, extent: number, count = extent): Part | string =>
    kind === 'linear' ? { of, axis, count, width: extent / count } : `it is of kind ${kind}`;
  switch (role) {
    case 'query':
      return part('heads', 0, heads * headDim, kvHeads);
    case 'key':
    case 'value':
      return part('heads', 0, kvHeads * headDim, kvHeads);
    case 'output':
      return part('heads', 1, heads * headDim, kvHeads);
    case 'query-key-value':
      return 'its query, key and value are one weight';
    case 'up':
    case 'gate':
      return part('channels', 0, out);
    case 'down':
      return part('channels', 1, width);
    default:
      return undefined;
  }
}

/** The tensor with the kept rows or columns alone. */
function take(tensor: Tensor, axis: number, kept: readonly number[]): Tensor {
  const [rows, columns = 1] = tensor.shape as [number, number?];
  const out = alloc(tensor.dtype, tensor.shape.with(axis, kept.length)) as Tensor & { data: Float32Array };
  const data = tensor.data as Float32Array;
  if (axis === 0)
    kept.forEach((row, k) => void out.data.set(data.subarray(row * columns, (row + 1) * columns), k * columns));
  else
    for (let row = 0; row < rows; row++)
      for (let k = 0; k < kept.length; k++) out.data[row * kept.length + k] = data[row * columns + kept[k]!]!;
  return out;
}

const reduced = (ref: TensorRef, axis: number, kept: readonly number[]): TensorRef => ({
  dtype: ref.dtype,
  shape: ref.shape.with(axis, kept.length),
  read: async (options = {}) => tensorRef(take(await ref.read(), axis, kept)).read(options),
});

/**
 * The parameters without heads and channels: a smaller model, whose layers are built as large as their tensors. What stays
 * computes the same as the whole model with those heads' and channels' outputs at zero. Weights are read when they are asked for.
 * @param removed by layer number
 * @throws PeftError CONFIG_INVALID with every layer, head and channel that is not there, layers that lose all, and
 *   targets whose heads or channels cannot be cut out
 */
export function prunedParameters(
  { targets, parameters }: { readonly targets: readonly Target[]; readonly parameters: ReadonlyMap<string, TensorRef> },
  removed: ReadonlyMap<number, Removed>,
): Map<string, TensorRef> {
  const problems = new Problems();
  const pruned = new Map(parameters);
  for (const [layer, gone] of removed) {
    const own = targets.filter((target) => target.layer === layer);
    if (own.length === 0) problems.add(`there is no layer ${layer}.`);
    for (const target of own) {
      const part = partOf(target);
      if (typeof part === 'string' && (gone.heads?.length || gone.channels?.length))
        problems.add(`"${target.path}" cannot lose heads or channels: ${part}.`);
      if (typeof part !== 'object' || !gone[part.of]?.length) continue;
      const { of, axis, count, width } = part;
      const out = new Set(gone[of]);
      const wrong = [...out].filter((unit) => !Number.isInteger(unit) || unit < 0 || unit >= count);
      if (wrong.length > 0) problems.add(`"${target.path}" has ${count} ${of}, there is no ${wrong.join(', ')}.`);
      if (out.size >= count) problems.add(`"${target.path}" would lose all of its ${count} ${of}: leave one at least.`);
      const kept = Array.from({ length: count * width }, (_, i) => i).filter((i) => !out.has(Math.floor(i / width)));
      const cut = (name: string, along: number) => {
        const ref = parameters.get(`${target.path}.${name}`);
        if (ref) pruned.set(`${target.path}.${name}`, reduced(ref, along, kept));
      };
      cut('weight', axis);
      if (axis === 0) cut('bias', 0);
    }
  }
  problems.throwIfAny('CONFIG_INVALID', 'These heads and channels cannot be removed');
  return pruned;
}
