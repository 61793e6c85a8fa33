import type { Method, Ops, ShapedValue } from '@peftjs/core';
import { indicesOf } from '../coordinates.js';
import type { SftConfig, SftSettings } from './config.js';

type All = Parameters<NonNullable<Method<typeof SftConfig, SftSettings>['penalty']>>[0];

const absoluteSum = (x: ShapedValue, ops: Ops): ShapedValue =>
  ops.sum(ops.abs(x), [...x.shape.keys()], { keepdims: false });

/**
 * λ / N Σ |θ - θ⁰| over everything that is trained, N the numbers of the whole model (Ansell et al. 2022, section 3.2).
 * θ⁰ is a constant: what the model was before the run.
 */
export function l1({ sites, replaced, parameters, c }: All, ops: Ops): ShapedValue | undefined {
  const isSparse = sites.some(({ p }) => Object.keys(p).some((name) => indicesOf(name) in p));
  const lambda = isSparse ? c.sparseL1 : c.fullL1;
  if (lambda === 0) return undefined;
  const changes = sites.flatMap(({ p }) => Object.values(p).filter(({ dtype }) => dtype === 'f32'));
  const heads = replaced.map(({ value, start }) => ops.sub(value, ops.constant(start)));
  const total = [...changes, ...heads].map((x) => absoluteSum(x, ops)).reduce((a, b) => ops.add(a, b));
  return ops.mul(total, lambda / parameters);
}
