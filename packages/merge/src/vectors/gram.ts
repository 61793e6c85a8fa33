import type { Reducer, Stats } from '../define.js';
import { taskVectorOf } from './delta.js';

/** Reducers of all inner products of n task vectors (of the models themselves without a base). */
export function gramReducers(n: number): Record<string, Reducer> {
  const sources = Array.from({ length: n }, (_, i) => taskVectorOf(i));
  const reducers: Record<string, Reducer> = {};
  for (let i = 0; i < n; i++)
    for (let j = i; j < n; j++) reducers[`gram.${i}.${j}`] = { kind: 'dot', of: [sources[i]!, sources[j]!] };
  return reducers;
}

/** A symmetric matrix of inner products. */
export type Gram = (i: number, j: number) => number;

export const gramOf =
  ({ numbers }: Stats): Gram =>
  (i, j) =>
    numbers[`gram.${Math.min(i, j)}.${Math.max(i, j)}`]!;

/** The inner products of vectors in memory. */
export function gramOfVectors(vectors: readonly Float64Array[]): Gram {
  const table = vectors.map((a) => vectors.map((b) => a.reduce((sum, x, j) => sum + x * b[j]!, 0)));
  return (i, j) => table[i]![j]!;
}

/** The cosine of two vectors, in -1..1. Undefined where one of them is 0. */
export function cosine(gram: Gram, i: number, j: number): number | undefined {
  const norms = Math.sqrt(gram(i, i)) * Math.sqrt(gram(j, j));
  return norms > 0 ? Math.min(1, Math.max(-1, gram(i, j) / norms)) : undefined;
}
