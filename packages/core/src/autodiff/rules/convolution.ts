import { PeftError } from '../../errors.js';
import { mulDim } from '../../graph/dim.js';
import type { Node, ShapedValue } from '../../graph/graph.js';
import type { Ops } from '../../graph/ops.js';
import { intOf, type Rules } from '../rule.js';

/** How the kernel of a node moves, in full. @throws PeftError GRADIENT_UNDEFINED naming what has no derivative here */
function settingsOf(node: Node, x: ShapedValue) {
  const refuse = (what: string) =>
    new PeftError('GRADIENT_UNDEFINED', `"${node.name}": Conv has a gradient ${what}.`, {
      details: { node: node.name, shape: x.shape },
    });
  if (x.shape.length !== 4) throw refuse(`over height and width, not for [${x.shape}]`);
  const auto = node.attributes.auto_pad;
  if (auto?.type === 'string' && auto.value !== 'NOTSET')
    throw refuse(`for padding in numbers (pads), not for auto_pad ${auto.value}`);
  const size = x.shape.slice(2);
  if (size.some((extent) => typeof extent !== 'number'))
    throw refuse(`for heights and widths that are numbers, not for [${x.shape}]`);
  const ints = (name: string, missing: number[]) => {
    const attribute = node.attributes[name];
    return attribute?.type === 'ints' ? attribute.value : missing;
  };
  return {
    size: size as [number, number],
    strides: ints('strides', [1, 1]) as [number, number],
    dilations: ints('dilations', [1, 1]) as [number, number],
    pads: ints('pads', [0, 0, 0, 0]) as [number, number, number, number],
    groups: intOf(node, 'group', 1),
  };
}

type Settings = ReturnType<typeof settingsOf>;

/**
 * dW[o, c, t] = Σ_{n, p} dy[n, o, p] x[n, c, p·stride + t·dilation - pad]: a convolution of x by dy in which samples
 * take the place of channels, and stride and dilation change places. Groups stay groups.
 */
function weightGradient(
  ops: Ops,
  x: ShapedValue,
  weight: ShapedValue,
  dy: ShapedValue,
  { size, strides, dilations, pads, groups }: Settings,
): ShapedValue {
  const samples = x.shape[0]!;
  const perGroup = weight.shape[1]!;
  const parts = ops.reshape(x, [samples, groups, perGroup, ...size]);
  const bySample = ops.transpose(parts, [2, 1, 0, 3, 4]);
  const planes = ops.reshape(bySample, [perGroup, mulDim(groups, samples), ...size]);
  const kernel = ops.transpose(dy, [1, 0, 2, 3]);
  const moved = ops.conv2d(planes, kernel, undefined, { strides: dilations, dilations: strides, pads, groups });
  // Where the last step left rows or columns over, there are more offsets than weights.
  const cut = [2, 3].reduce(
    (y, axis) => (y.shape[axis] === weight.shape[axis] ? y : ops.slice(y, axis, 0, weight.shape[axis]!)),
    moved,
  );
  return ops.transpose(cut, [1, 0, 2, 3]);
}

export const convolutionRules: Rules = {
  Conv: ({ ops, node, x, dy, needs }) => {
    const [input, weight] = [x[0]!, x[1]!];
    const settings = settingsOf(node, input);
    return [
      needs[0] ? ops.convTranspose2d(dy, weight, settings.size, settings) : undefined,
      needs[1] ? weightGradient(ops, input, weight, dy, settings) : undefined,
      needs[2] ? ops.sum(dy, [0, 2, 3], { keepdims: false }) : undefined,
    ];
  },
};
