import type { Adapter, TensorRef } from '@peftjs/core';
import { readInPieces, toF32 } from '@peftjs/core/tensor';
import type { Result } from '../command.js';

/** What was found at a path. */
export interface Found extends Result {
  readonly kind: string;
  readonly problems: readonly string[];
}

/** Bytes of tensors as they lie in their files. */
export const bytesOf = (refs: Iterable<TensorRef>): number =>
  [...refs].reduce((sum, { file }) => sum + (file?.bytes ?? 0), 0);

export const dtypesOf = (refs: Iterable<TensorRef>): string[] => [...new Set([...refs].map(({ dtype }) => dtype))];

const ascending = (values: Iterable<number>): number[] => [...new Set(values)].sort((a, b) => a - b);

/** The kinds of updates that occur. */
export const kindsOf = ({ delta }: Adapter): string[] =>
  [...new Set([...delta.params.values()].flat().map(({ kind }) => kind))].sort();

/** The ranks that occur. */
export const ranksOf = ({ delta }: Adapter): number[] =>
  ascending(
    [...delta.params.values()].flat().flatMap(({ tensors }) => (tensors.a && tensors.b ? [tensors.a.shape[0]!] : [])),
  );

/** The parts of the tensors that are not zero, in per mille steps. Reads every number. */
export async function densitiesOf(refs: Iterable<TensorRef>): Promise<number[]> {
  const found: number[] = [];
  for (const ref of refs) {
    let [size, filled] = [0, 0];
    for await (const piece of readInPieces(ref)) {
      const { data } = toF32(piece);
      size += data.length;
      for (const x of data) if (x !== 0) filled++;
    }
    if (size > 0) found.push(Math.round((1000 * filled) / size) / 1000);
  }
  return ascending(found);
}
