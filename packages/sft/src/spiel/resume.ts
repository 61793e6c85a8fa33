import { f32, type Params, type Tensor, type Term, toF32 } from '@peftjs/core';
import { indexTensor, indicesOf } from '../coordinates.js';

/** Values and indices of a saved term; free coordinates at zero where a file has left out those that had not changed. */
export async function filled({ tensors, meta }: Term, count: number): Promise<Params<Tensor>> {
  const indices = Array.from((await tensors.indices!.read()).data as ArrayLike<number>, Number);
  const scale = Number(meta.scale ?? 1);
  const values = Array.from(toF32(await tensors.values!.read()).data, (x) => x * scale);
  const known = new Map(indices.map((index, k) => [index, values[k]!]));
  for (let free = 0; known.size < count; free++) if (!known.has(free)) known.set(free, 0);
  const all = Float64Array.from(known.keys()).sort();
  const weight = Float32Array.from(all, (index) => known.get(index)!);
  return { weight: f32([all.length], weight), [indicesOf('weight')]: indexTensor(all) };
}
