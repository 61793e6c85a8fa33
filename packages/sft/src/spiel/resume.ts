import { f32, type Params, type Tensor, type Term, toF32 } from '@peftjs/core';
import { indexTensor, indicesOf } from '../coordinates.js';

/**
 * Values and indices of a saved term. Coordinates at zero are no part of what it says: layouts fill up with them, so
 * those are left out, and the first free ones taken to reach `count`.
 */
export async function filled({ tensors, meta }: Term, count: number): Promise<Params<Tensor>> {
  const indices = (await tensors.indices!.read()).data;
  const values = toF32(await tensors.values!.read()).data;
  const scale = Number(meta.scale);
  const known = new Map<number, number>();
  values.forEach((value, k) => {
    if (value !== 0) known.set(Number(indices[k]), value * scale);
  });
  for (let free = 0; known.size < count; free++) if (!known.has(free)) known.set(free, 0);
  const all = Float64Array.from(known.keys()).sort();
  const weight = f32(
    [all.length],
    Float32Array.from(all, (index) => known.get(index)!),
  );
  return { weight, [indicesOf('weight')]: indexTensor(all) };
}
