import { changedEntries, f32, graphIndices, largest, type Params, type Tensor, type Term } from '@peftjs/core';

/** Flat indices of the numbers below the threshold, ascending. */
export function below(theta: ArrayLike<number>, threshold: number): number[] {
  const found: number[] = [];
  for (let i = 0; i < theta.length; i++) if (Math.abs(theta[i]!) < threshold) found.push(i);
  return found;
}

/** Flat indices of the `count` smallest numbers, ascending; the earlier among equals. And the next magnitude. */
export function smallest(
  theta: ArrayLike<number>,
  count: number,
): { readonly indices: number[]; readonly next: number } {
  const [indices] = largest([{ length: theta.length, at: (i) => -Math.abs(theta[i]!) }], count) as [number[]];
  let next = Number.MAX_VALUE;
  for (let i = 0, k = 0; i < theta.length; i++) {
    if (i === indices[k]) k++;
    else next = Math.min(next, Math.abs(theta[i]!));
  }
  return { indices, next };
}

/** All changes of a weight by ascending index: those of this phase and those that earlier ones left. */
export function changes(p: Params<Tensor>): Map<number, number> {
  const sum = new Map<number, number>();
  const add = (indices: Tensor | undefined, values: Tensor | undefined) =>
    indices?.data.forEach((index, i) => {
      sum.set(Number(index), (sum.get(Number(index)) ?? 0) + Number(values!.data[i]));
    });
  add(p.fixedIndices, p.fixed);
  add(p.indices, p.v);
  return new Map([...sum].sort(([a], [b]) => a - b));
}

/** Values and indices of a saved update. */
export async function savedNumbers(term: Term): Promise<{ readonly indices: Tensor; readonly v: Tensor }> {
  const { indices, values } = await changedEntries(term);
  return { indices: graphIndices(indices), v: f32([values.length], values) };
}
