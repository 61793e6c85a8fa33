import type { Chunk, Reducer, Source } from './define.js';
import { dot, norm1, sum } from './kernels/index.js';

/** Reducers whose result is one number: partial results add up. */
export type Summing = Exclude<Reducer, { kind: 'largest' }>;

export const isSumming = (reducer: Reducer): reducer is Summing => reducer.kind !== 'largest';

/** The numbers that sources make of a chunk, each made once. */
export function valuesOf(chunk: Chunk): (source: Source) => Float32Array {
  const made = new Map<Source, Float32Array>();
  return (source) => {
    const values = made.get(source) ?? source(chunk);
    made.set(source, values);
    return values;
  };
}

/** What a chunk contributes, in float64. Add the chunks' parts in the order of their offsets for equal bytes. */
export function reduceChunk(reducer: Summing, values: (source: Source) => Float32Array): number {
  switch (reducer.kind) {
    case 'sum':
      return sum(values(reducer.of));
    case 'norm1':
      return norm1(values(reducer.of));
    case 'dot':
      return dot(values(reducer.of[0]), values(reducer.of[1]));
    case 'count': {
      const list = values(reducer.of);
      let count = 0;
      for (let i = 0; i < list.length; i++) if (list[i] !== 0) count++;
      return count;
    }
  }
}
