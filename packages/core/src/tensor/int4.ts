/** Values of four bits, two to a byte, the low half first; an odd count leaves the last high half 0. */

/** @param count number of values. @returns 0 to 15 each. */
export function unpackU4(packed: Uint8Array, count: number): Uint8Array {
  const values = new Uint8Array(count);
  for (let i = 0; i < count; i++) values[i] = (packed[i >> 1]! >> ((i & 1) << 2)) & 15;
  return values;
}

/** @param count number of values. @returns two's complement, -8 to 7 each. */
export function unpackI4(packed: Uint8Array, count: number): Int8Array {
  const values = new Int8Array(count);
  for (let i = 0; i < count; i++) values[i] = (packed[i >> 1]! << (28 - ((i & 1) << 2))) >> 28;
  return values;
}

/** @param values the low four bits of each are kept. */
export function packInt4(values: ArrayLike<number>): Uint8Array {
  const packed = new Uint8Array(Math.ceil(values.length / 2));
  for (let i = 0; i < values.length; i++) packed[i >> 1]! |= (values[i]! & 15) << ((i & 1) << 2);
  return packed;
}
