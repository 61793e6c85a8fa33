import type { ShapedValue } from '../../graph/graph.js';
import { constantInts, intOf, type RuleContext, type Rules } from '../rule.js';

/** The axes a reduction ran over; all of them when none were given. */
function axesOf({ ops, x }: RuleContext): number[] {
  const rank = x[0]!.shape.length;
  const given = x[1] && constantInts(ops, x[1]);
  return given ? given.map((a) => (a < 0 ? a + rank : a)) : [...Array(rank).keys()];
}

/** The result of a reduction with its axes kept as 1. */
function kept(context: RuleContext, value: ShapedValue): ShapedValue {
  const axes = axesOf(context);
  const shape = context.x[0]!.shape.map((d, i) => (axes.includes(i) ? 1 : d));
  return context.ops.reshape(value, shape);
}

export const reduceRules: Rules = {
  ReduceSum: (c) => [c.ops.expand(kept(c, c.dy), c.x[0]!.shape)],
  ReduceMean: (c) => {
    const { ops, x } = c;
    const extents = axesOf(c).map((axis) => x[0]!.shape[axis]!);
    const known = extents.every((d): d is number => typeof d === 'number');
    const count = known
      ? ops.scalar(
          extents.reduce((a, d) => a * d, 1),
          x[0]!.dtype,
        )
      : ops.squeeze(
          ops.cast(
            extents.map((d) => ops.dim(d)).reduce((a, d) => ops.mul(a, d)),
            x[0]!.dtype,
          ),
          [0],
        );
    return [ops.expand(ops.div(kept(c, c.dy), count), x[0]!.shape)];
  },
  // Equal largest elements share the gradient.
  ReduceMax: (c) => {
    const { ops, x, y, dy } = c;
    const hit = ops.cast(ops.equal(x[0]!, kept(c, y[0]!)), dy.dtype);
    const share = ops.div(hit, ops.sum(hit, axesOf(c)));
    return [ops.mul(share, kept(c, dy))];
  },
  // dx = y (dy - Σ y dy)
  Softmax: ({ ops, node, y, dy }) => {
    const axis = intOf(node, 'axis', -1);
    const weighted = ops.mul(dy, y[0]!);
    return [ops.sub(weighted, ops.mul(y[0]!, ops.sum(weighted, [axis])))];
  },
  // dx = dy - e^y Σ dy
  LogSoftmax: ({ ops, node, y, dy }) => {
    const axis = intOf(node, 'axis', -1);
    return [ops.sub(dy, ops.mul(ops.exp(y[0]!), ops.sum(dy, [axis])))];
  },
};
