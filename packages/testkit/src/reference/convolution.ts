import { count, nd, stridedIndex, strides } from './array.js';
import { need, type Operations } from './operation.js';

export const convolution: Operations = {
  /** x [n, c, ...spatial], w [m, c / group, ...kernel], bias [m]. */
  Conv: (inputs, attributes) => {
    const [x, w, bias] = [need(inputs, 0), need(inputs, 1), inputs[2]];
    const [n, channels, ...size] = x.shape as [number, number, ...number[]];
    const [m, perGroup, ...kernel] = w.shape as [number, number, ...number[]];
    const step = attributes.numbers('strides') ?? kernel.map(() => 1);
    const dilation = attributes.numbers('dilations') ?? kernel.map(() => 1);
    const pads = attributes.numbers('pads') ?? kernel.flatMap(() => [0, 0]);
    const outPerGroup = m / attributes.number('group', 1);
    const reach = kernel.map((k, i) => (k - 1) * dilation[i]! + 1);
    const shape = size.map((s, i) => Math.floor((s + pads[i]! + pads[i + size.length]! - reach[i]!) / step[i]!) + 1);

    const places = coordinates(shape);
    const taps = coordinates(kernel);
    const steps = strides(size);
    const out = nd(x.dtype, [n, m, ...shape]);
    for (let b = 0; b < n; b++) {
      for (let o = 0; o < m; o++) {
        const firstChannel = Math.floor(o / outPerGroup) * perGroup;
        places.forEach((place, p) => {
          let sum = bias?.data[o] ?? 0;
          taps.forEach((tap, t) => {
            const at = place.map((v, i) => v * step[i]! + tap[i]! * dilation[i]! - pads[i]!);
            if (at.some((v, i) => v < 0 || v >= size[i]!)) return;
            const offset = at.reduce((total, v, i) => total + v * steps[i]!, 0);
            for (let c = 0; c < perGroup; c++) {
              const from = (b * channels + firstChannel + c) * count(size) + offset;
              sum += x.data[from]! * w.data[(o * perGroup + c) * count(kernel) + t]!;
            }
          });
          out.data[(b * m + o) * count(shape) + p] = sum;
        });
      }
    }
    return out;
  },
};

/** Every index of a shape, in row-major order. */
function coordinates(shape: readonly number[]): number[][] {
  const axes = shape.map((_, axis) =>
    stridedIndex(
      shape,
      shape.map((_, i) => (i === axis ? 1 : 0)),
      0,
    ),
  );
  return Array.from({ length: count(shape) }, (_, i) => axes.map((axis) => axis[i]!));
}
