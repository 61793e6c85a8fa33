import { PeftError } from '../../errors.js';
import { addDim, type Dim } from '../../graph/dim.js';
import { constantInts, intOf, type Rules, sumTo } from '../rule.js';

const axisIn = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

/** Operations that move elements. */
export const shapeRules: Rules = {
  Reshape: ({ ops, x, dy }) => [ops.reshape(dy, x[0]!.shape)],
  Squeeze: ({ ops, x, dy }) => [ops.reshape(dy, x[0]!.shape)],
  Unsqueeze: ({ ops, x, dy }) => [ops.reshape(dy, x[0]!.shape)],
  Expand: ({ ops, x, dy }) => [sumTo(ops, dy, x[0]!)],
  Concat: ({ ops, node, x, dy, needs }) => {
    const axis = axisIn(intOf(node, 'axis', 0), dy.shape.length);
    let from: Dim = 0;
    return x.map((v, i) => {
      const to = addDim(from, v.shape[axis]!);
      const piece = needs[i] ? ops.slice(dy, axis, from, to) : undefined;
      from = to;
      return piece;
    });
  },
  Split: ({ ops, node, y, dys }) => {
    const axis = axisIn(intOf(node, 'axis', 0), y[0]!.shape.length);
    return [
      ops.concat(
        y.map((v, i) => dys[i] ?? ops.fill(v.shape, 0, v.dtype)),
        axis,
      ),
    ];
  },
  // The gradient in its place, zeros around it: written by index, so that symbolic extents need no padding.
  Slice: ({ ops, node, x, y, dy }) => {
    const [axis, ...more] = constantInts(ops, x[3]) ?? [];
    const step = x[4] ? constantInts(ops, x[4]) : [1];
    if (axis === undefined || more.length > 0 || step?.[0] !== 1)
      throw new PeftError(
        'GRADIENT_UNDEFINED',
        `"${node.name}": Slice has a gradient for one constant axis and step 1.`,
      );
    const at = axisIn(axis, y[0]!.shape.length);
    const index = ops.add(ops.range(y[0]!.shape[at]!), x[1]!);
    const order = [at, ...[...y[0]!.shape.keys()].filter((i) => i !== at)];
    const inverse = order.map((_, i) => order.indexOf(i));
    const zeros = ops.fill(
      order.map((i) => x[0]!.shape[i]!),
      0,
      dy.dtype,
    );
    return [ops.transpose(ops.scatterAdd(zeros, index, ops.transpose(dy, order)), inverse)];
  },
};
