/** Integers of `width` bits (1 to 8) one after the other, the lowest bit first; spare bits of the last byte are 0. */
export function packBits(values: ArrayLike<number>, width: number): Uint8Array {
  const packed = new Uint8Array(Math.ceil((values.length * width) / 8));
  for (let i = 0, at = 0; i < values.length; i++, at += width) {
    const shifted = values[i]! << (at & 7);
    packed[at >> 3]! |= shifted & 255;
    if (shifted > 255) packed[(at >> 3) + 1]! |= shifted >> 8;
  }
  return packed;
}

/** @param count how many integers are read; the bytes must hold them all. */
export function unpackBits(packed: Uint8Array, width: number, count: number): Uint8Array {
  const values = new Uint8Array(count);
  const mask = (1 << width) - 1;
  for (let i = 0, at = 0; i < count; i++, at += width)
    values[i] = ((packed[at >> 3]! | ((packed[(at >> 3) + 1] ?? 0) << 8)) >> (at & 7)) & mask;
  return values;
}
