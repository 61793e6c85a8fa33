import { fromTensor, nd } from './array.js';
import { need, type Operations } from './operation.js';

/** Operations that make values of shapes and attributes instead of numbers. */
export const creation: Operations = {
  Shape: (inputs, attributes) => {
    const { shape } = need(inputs, 0);
    const part = shape.slice(attributes.number('start', 0), attributes.number('end', shape.length));
    return nd('i64', [part.length], Float64Array.from(part));
  },
  Size: (inputs) => nd('i64', [], Float64Array.of(need(inputs, 0).data.length)),
  Range: (inputs) => {
    const [from, to, by] = [0, 1, 2].map((i) => need(inputs, i).data[0]!) as [number, number, number];
    const size = Math.max(0, Math.ceil((to - from) / by));
    return nd(
      need(inputs, 0).dtype,
      [size],
      Float64Array.from({ length: size }, (_, i) => from + i * by),
    );
  },
  ConstantOfShape: (inputs, attributes) => {
    const value = attributes.tensor('value');
    const out = nd(value?.dtype ?? 'f32', Array.from(need(inputs, 0).data));
    if (value) out.data.fill(fromTensor(value).data[0]!);
    return out;
  },
  Constant: (_, attributes) => {
    const value = attributes.tensor('value');
    if (value) return fromTensor(value);
    const numbers = attributes.numbers('value_ints');
    if (numbers) return nd('i64', [numbers.length], Float64Array.from(numbers));
    const floats = attributes.numbers('value_floats');
    if (floats) return nd('f32', [floats.length], Float64Array.from(floats));
    const whole = attributes.number('value_int', Number.NaN);
    if (!Number.isNaN(whole)) return nd('i64', [], Float64Array.of(whole));
    return nd('f32', [], Float64Array.of(attributes.number('value_float', 0)));
  },
};
