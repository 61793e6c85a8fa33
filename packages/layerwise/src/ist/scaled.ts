import type { Method, Ops, Params, ShapedValue } from '@peftjs/core';
import type * as z from 'zod';

/** The site as the wrapped method knows it: without the tensors of these letters. */
export const without = <T, S extends { readonly p: Params<T> }>(site: S, letters: readonly string[]): S => ({
  ...site,
  p: Object.fromEntries(Object.entries(site.p).filter(([letter]) => !letters.includes(letter))),
});

/** f·now + (1-f)·before: for f = 1 exactly `now`. */
const between = (before: ShapedValue, now: ShapedValue, f: ShapedValue, ops: Ops): ShapedValue =>
  before === now ? now : ops.add(ops.mul(now, f), ops.mul(before, ops.sub(ops.scalar(1), f)));

/**
 * How a method acts with its update scaled by the target's tensor of letter `factor`, []: ΔW by the factor, and what takes
 * the place of a weight or an output as far towards it as the factor says.
 */
export function scaled<Schema extends z.ZodType>(
  method: Method<Schema>,
  factor: string,
  letters: readonly string[],
): Partial<Method<Schema>> {
  const { delta, apply, weight, rewrite, toDelta, toReplaced } = method;
  const inner = <S extends { readonly p: Params<ShapedValue> }>(site: S) => without<ShapedValue, S>(site, letters);
  return {
    ...(delta && { delta: (site, ops) => ops.mul(delta(inner(site), ops), site.p[factor]!) }),
    ...(apply && { apply: (site, ops) => ops.mul(apply(inner(site), ops), site.p[factor]!) }),
    ...(weight && {
      weight(site, ops) {
        const f = site.p[factor];
        const now = weight(inner(site), ops);
        return f ? between(site.W, now, f, ops) : now;
      },
    }),
    ...(rewrite && { rewrite: (site, ops) => between(site.y, rewrite(inner(site), ops), site.p[factor]!, ops) }),
    toDelta: (site) => toDelta({ ...site, ...without(site, letters) }),
    ...(toReplaced && { toReplaced: (site) => toReplaced(without(site, letters)) }),
  };
}
