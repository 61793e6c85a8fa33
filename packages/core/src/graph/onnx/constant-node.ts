import type { Tensor } from '../../tensor/tensor.js';
import type { Attribute } from '../graph.js';

/** The numbers of a `Constant` node, whichever attribute holds them; undefined for kinds that stay nodes. */
export function constantOf(attributes: Readonly<Record<string, Attribute>>): Tensor | undefined {
  const [given, ...more] = Object.values(attributes);
  if (!given || more.length > 0) return undefined;
  switch (given.type) {
    case 'tensor':
      return given.value;
    case 'float':
      return { dtype: 'f32', shape: [], data: Float32Array.of(given.value) };
    case 'floats':
      return { dtype: 'f32', shape: [given.value.length], data: Float32Array.from(given.value) };
    case 'int':
      return { dtype: 'i64', shape: [], data: BigInt64Array.of(BigInt(given.value)) };
    case 'ints':
      return { dtype: 'i64', shape: [given.value.length], data: BigInt64Array.from(given.value, BigInt) };
    default:
      return undefined;
  }
}
