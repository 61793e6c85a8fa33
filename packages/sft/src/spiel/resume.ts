import { changedEntries, f32, graphIndices, type Params, type Tensor, type Term } from '@peftjs/core';
import { indicesOf } from '../coordinates.js';

/** Values and indices of a saved term, with the first free coordinates, at zero, to reach `count`. */
export async function filled(term: Term, count: number): Promise<Params<Tensor>> {
  const { indices, values } = await changedEntries(term);
  const known = new Map(Array.from(indices, (index, k) => [index, values[k]!]));
  for (let free = 0; known.size < count; free++) if (!known.has(free)) known.set(free, 0);
  const all = Float64Array.from(known.keys()).sort();
  const weight = f32(
    [all.length],
    Float32Array.from(all, (index) => known.get(index)!),
  );
  return { weight, [indicesOf('weight')]: graphIndices(all) };
}
