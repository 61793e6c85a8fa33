import type { Look, Random, Target, Tensor } from '@peftjs/core';
import type { S2ftSettings } from './config.js';
import { type Units, unitsOf } from './units.js';

type Sites = Look<S2ftSettings>['sites'];

/** Entry (row, column) of a weight as (out, in), however it lies. */
const reader = (target: Target, weight: Tensor) => {
  const data = weight.data as Float32Array;
  return target.kind === 'conv1d'
    ? (o: number, i: number) => data[i * target.out + o]!
    : (o: number, i: number) => data[o * target.in + i]!;
};

/** Σ over a unit's rows or columns of |entry|. */
function sums(target: Target, matrix: Tensor, { axis, count, width }: Units): Float64Array {
  const at = reader(target, matrix);
  const score = new Float64Array(count);
  for (let o = 0; o < target.out; o++)
    for (let i = 0; i < target.in; i++) {
      const unit = Math.floor((axis === 0 ? o : i) / width);
      score[unit] = score[unit]! + Math.abs(at(o, i));
    }
  return score;
}

/** Σ of |x| over the columns that a unit reads. */
function inputs(x: Tensor, { count, width }: Units): Float64Array {
  const columns = x.shape[1]!;
  const data = x.data as Float32Array;
  const score = new Float64Array(count);
  for (let i = 0; i < data.length; i++) {
    const unit = Math.floor((i % columns) / width);
    score[unit] = score[unit]! + Math.abs(data[i]!);
  }
  return score;
}

/**
 * Scores of the units of every target, by target path (section 3.3 of the paper compares them).
 * @param rngOf the random numbers of the group that a target competes in
 */
export async function scoresOf(
  sites: Sites,
  look: Look<S2ftSettings>,
  rngOf: (site: Sites[number]) => Random,
): Promise<Map<string, Float64Array>> {
  const { select, batches } = sites[0]!.c;
  const scores = new Map<string, Float64Array>();
  const add = (path: string, more: Float64Array) => {
    const sum = scores.get(path) ?? new Float64Array(more.length);
    scores.set(
      path,
      sum.map((value, i) => value + more[i]!),
    );
  };
  const units = sites.map((site) => ({
    site,
    target: site.target,
    path: site.target.path,
    unit: unitsOf(site.target)!,
  }));
  if (select === 'random')
    for (const { site, path, unit } of units)
      scores.set(path, Float64Array.from(rngOf(site).fork(path).uniform([unit.count]).data as Float32Array));
  else if (select === 'weight')
    for (const { path, target, unit } of units) add(path, sums(target, await look.weight(`${path}.weight`), unit));
  else if (select === 'activation') {
    for await (const seen of look.activations(batches))
      for (const { path, unit } of units) add(path, inputs(seen.get(path)!, unit));
  } else {
    for await (const seen of look.gradients(batches))
      for (const { path, target, unit } of units) add(path, sums(target, seen.get(path)!, unit));
  }
  return scores;
}
