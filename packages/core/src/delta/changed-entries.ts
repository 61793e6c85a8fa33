import { toF32 } from '../tensor/convert.js';
import type { Entries, Term } from './delta.js';

/**
 * The numbers that a sparse or dense update changes. Zeros change nothing: layouts fill up with them. Of an update of
 * zeros its first place is left, so that there is something to go on with.
 */
export async function changedEntries({ tensors, meta }: Term): Promise<Entries> {
  const all = toF32(await (tensors.values ?? tensors.delta)!.read()).data;
  const places = tensors.indices && ((await tensors.indices.read()).data as ArrayLike<number | bigint>);
  const own = Float64Array.from(all.keys());
  const moved = all.some((x) => x !== 0) ? own.filter((i) => all[i] !== 0) : own.subarray(0, 1);
  const scale = Number(meta.scale);
  return {
    indices: places ? moved.map((i) => Number(places[i])) : moved,
    values: Float32Array.from(moved, (i) => all[i]! * scale),
  };
}
