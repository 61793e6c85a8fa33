import type { Chunk, Reducer } from './define.js';

/** Reducers whose result is one number: partial results add up. */
export type Summing = Extract<Reducer, { kind: 'sum' | 'dot' | 'count' }>;

export const isSumming = (reducer: Reducer): reducer is Summing => reducer.kind !== 'largest';

/** What a chunk contributes, in float64. Add the chunks' parts in the order of their offsets for equal bytes. */
export function reduceChunk(reducer: Summing, chunk: Chunk): number {
  switch (reducer.kind) {
    case 'sum': {
      const values = reducer.of(chunk);
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[i]!;
      return sum;
    }
    case 'dot': {
      const [first, second] = reducer.of;
      const a = first(chunk);
      const b = first === second ? a : second(chunk);
      let sum = 0;
      for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
      return sum;
    }
    case 'count': {
      const values = reducer.of(chunk);
      let count = 0;
      for (let i = 0; i < values.length; i++) if (values[i] !== 0) count++;
      return count;
    }
  }
}
