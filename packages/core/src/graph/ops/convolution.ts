import { PeftError } from '../../errors.js';
import { mulDim } from '../dim.js';
import type { ShapedValue } from '../graph.js';
import { type Builder, int, ints, requireShape } from './builder.js';

/** How a kernel moves over height and width. */
export interface ConvOptions {
  /** Default [1, 1]. */
  readonly strides?: readonly [number, number];
  /** Zeros added at top, left, bottom and right. Default none. */
  readonly pads?: readonly [number, number, number, number];
  /** Distance of neighbouring weights. Default [1, 1]. */
  readonly dilations?: readonly [number, number];
  /** Parts that input and output channels are cut into; each output part sees its own input part. Default 1. */
  readonly groups?: number;
}

/** The two axes of a picture, each with what the kernel does along it. */
const axes = [0, 1] as const;

export function convolution(b: Builder) {
  const refuse = (op: string, x: ShapedValue, weight: ShapedValue, why: string) =>
    new PeftError(
      'GRAPH_INVALID',
      `${op}: "${x.name}" [${x.shape}] with the weight "${weight.name}" [${weight.shape}] ${why}.`,
    );

  /** What both directions are computed with: kernel sizes, defaults filled in, and the node's attributes. */
  function layout(op: string, x: ShapedValue, weight: ShapedValue, options: ConvOptions) {
    const { strides = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1], groups = 1 } = options;
    if (x.shape.length !== 4 || weight.shape.length !== 4) throw refuse(op, x, weight, 'needs four axes each');
    const number = (extent: ShapedValue['shape'][number]) => {
      if (typeof extent === 'number') return extent;
      throw refuse(op, x, weight, `has the extent "${extent}" along height or width; numbers are needed there`);
    };
    const extent = axes.map((i) => number(x.shape[2 + i]!));
    // How far the kernel reaches: its weights with the gaps between them.
    const reach = axes.map((i) => (number(weight.shape[2 + i]!) - 1) * dilations[i]! + 1);
    const pad = axes.map((i) => pads[i]! + pads[2 + i]!);
    const attributes = {
      strides: ints(strides),
      pads: ints(pads),
      dilations: ints(dilations),
      group: int(groups),
    };
    return { strides, groups, extent, reach, pad, attributes };
  }

  return {
    /**
     * y[n, o, p] = Σ_{c, t} weight[o, c, t] x[n, c, p·stride + t·dilation - pad] + bias[o]:
     * x [batch, in, height, width], weight [out, in / groups, ...kernel], bias [out] -> [batch, out, height', width'].
     */
    conv2d(x: ShapedValue, weight: ShapedValue, bias?: ShapedValue, options: ConvOptions = {}): ShapedValue {
      const { strides, groups, extent, reach, pad, attributes } = layout('Conv', x, weight, options);
      const out = weight.shape[0]!;
      if (mulDim(weight.shape[1]!, groups) !== x.shape[1] || (typeof out === 'number' && out % groups !== 0))
        throw refuse('Conv', x, weight, `does not fit in ${groups} group${groups === 1 ? '' : 's'}`);
      if (bias) requireShape(bias, [out], 'Conv');
      const shape = axes.map((i) => Math.floor((extent[i]! + pad[i]! - reach[i]!) / strides[i]!) + 1);
      if (shape.some((size) => size < 1)) throw refuse('Conv', x, weight, 'is smaller than the kernel');
      return b.emit('Conv', bias ? [x, weight, bias] : [x, weight], x.dtype, [x.shape[0]!, out, ...shape], attributes);
    },
    /**
     * The adjoint of `conv2d` in its input: spreads y [batch, out, height', width'] over the places it was computed
     * from, [batch, in, ...size]. Weight and options are those of the convolution.
     */
    convTranspose2d(
      y: ShapedValue,
      weight: ShapedValue,
      size: readonly [number, number],
      options: ConvOptions = {},
    ): ShapedValue {
      const { strides, groups, extent, reach, pad, attributes } = layout('ConvTranspose', y, weight, options);
      if (weight.shape[0] !== y.shape[1]) throw refuse('ConvTranspose', y, weight, 'has other channels');
      // Rows and columns past the last step of the kernel: no output saw them.
      const rest = axes.map((i) => size[i]! - ((extent[i]! - 1) * strides[i]! + reach[i]! - pad[i]!));
      if (axes.some((i) => rest[i]! < 0 || rest[i]! >= strides[i]!))
        throw refuse('ConvTranspose', y, weight, `does not come from a picture of [${size}]`);
      const shape = [y.shape[0]!, mulDim(weight.shape[1]!, groups), ...size];
      return b.emit('ConvTranspose', [y, weight], y.dtype, shape, { ...attributes, output_padding: ints(rest) });
    },
  };
}
