import { PeftError } from '../../errors.js';
import { type Dim, mulDim } from '../../graph/dim.js';
import { intOf, type Rules } from '../rule.js';

/** Operations that pick elements by index. Indices themselves have no gradient. */
export const indexingRules: Rules = {
  // The picked slices return to their places and add up; axis 0 is where ScatterND works.
  Gather: ({ ops, node, x, dy }) => {
    const [from, indices] = [x[0]!, x[1]!];
    const axis = intOf(node, 'axis', 0);
    const at = axis < 0 ? axis + from.shape.length : axis;
    const picked = indices.shape.reduce(mulDim, 1 as Dim);
    const flat = ops.reshape(indices, [picked]);
    // [lead, picked, rest] -> [picked, lead, rest]
    const lead = from.shape.slice(0, at);
    const rest = from.shape.slice(at + 1);
    const updates = ops.reshape(dy, [...lead, picked, ...rest]);
    const order = [at, ...lead.keys(), ...rest.map((_, i) => at + 1 + i)];
    const inverse = order.map((_, i) => order.indexOf(i));
    const zeros = ops.fill([from.shape[at]!, ...lead, ...rest], 0, dy.dtype);
    const front = at === 0 ? updates : ops.transpose(updates, order);
    const sum = ops.scatterAdd(zeros, flat, front);
    return [at === 0 ? sum : ops.transpose(sum, inverse)];
  },
  GatherElements: ({ ops, node, x, dy }) => {
    const zeros = ops.fill(x[0]!.shape, 0, dy.dtype);
    return [ops.scatterElementsAdd(zeros, x[1]!, dy, intOf(node, 'axis', 0))];
  },
  // y = x with updates added at the indices: dx = dy, d(updates) = dy there.
  ScatterND: ({ ops, node, x, dy, needs }) => {
    const reduction = node.attributes.reduction;
    const index = x[1]!;
    if (reduction?.type !== 'string' || reduction.value !== 'add' || index.shape.at(-1) !== 1)
      throw new PeftError(
        'GRADIENT_UNDEFINED',
        `"${node.name}": ScatterND has a gradient for reduction "add" over axis 0.`,
      );
    return [dy, undefined, needs[2] ? ops.gather(dy, ops.squeeze(index, [-1])) : undefined];
  },
  ScatterElements: ({ ops, node, x, dy, needs }) => {
    const reduction = node.attributes.reduction;
    if (reduction?.type !== 'string' || reduction.value !== 'add')
      throw new PeftError('GRADIENT_UNDEFINED', `"${node.name}": ScatterElements has a gradient for reduction "add".`);
    return [dy, undefined, needs[2] ? ops.gatherElements(dy, x[1]!, intOf(node, 'axis', 0)) : undefined];
  },
};
