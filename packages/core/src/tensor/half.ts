/**
 * Half precision (IEEE 754 binary16) and bfloat16 as bit patterns. Widening is exact; narrowing rounds to nearest, ties
 * to even, with subnormals and infinities. A NaN keeps its sign and as much of its payload as fits; everything runs on
 * integers, because moving a signalling NaN through a JavaScript number may change it.
 */

const bitsOfF32 = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer, values.byteOffset, values.length);

/** Bits of a binary16 number as the bits of the same binary32 number. */
function widenF16(h: number): number {
  const sign = (h & 0x8000) << 16;
  const magnitude = h & 0x7fff;
  if (magnitude >= 0x7c00) return sign | 0x7f800000 | ((magnitude & 0x3ff) << 13);
  if (magnitude >= 0x0400) return sign | ((magnitude << 13) + 0x38000000); // exponent bias 15 -> 127
  if (magnitude === 0) return sign;
  const shift = Math.clz32(magnitude) - 21; // subnormal: bring the leading one to bit 10
  return sign | ((113 - shift) << 23) | (((magnitude << shift) & 0x3ff) << 13);
}

/** Bits of a binary32 number as the bits of the nearest binary16 number. */
function narrowF16(x: number): number {
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7c00 | ((magnitude >>> 13) & 0x3ff || 0x200);
  if (magnitude >= 0x47800000) return sign | 0x7c00; // 65536 and above; 65520 and above overflow by the carry below
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13); // normal: at least 2^-14
  if (magnitude < 0x33000000) return sign; // below 2^-25, half the smallest subnormal
  const shift = 126 - (magnitude >>> 23);
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const kept = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

/** Bits of a binary32 number as the bits of the nearest bfloat16 number. */
function narrowBf16(x: number): number {
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return ((x >>> 16) & 0xff80) | ((magnitude >>> 16) & 0x7f || 0x40);
  return ((x >>> 0) + 0x7fff + ((x >>> 16) & 1)) >>> 16;
}

/** @param out receives the values; same length as `halves`. */
export function f16ToF32(halves: Uint16Array, out = new Float32Array(halves.length)): Float32Array {
  const bits = bitsOfF32(out);
  for (let i = 0; i < halves.length; i++) bits[i] = widenF16(halves[i]!);
  return out;
}

/** @param out receives the bit patterns; same length as `values`. */
export function f32ToF16(values: Float32Array, out = new Uint16Array(values.length)): Uint16Array {
  const bits = bitsOfF32(values);
  for (let i = 0; i < bits.length; i++) out[i] = narrowF16(bits[i]!);
  return out;
}

/** @param out receives the values; same length as `halves`. */
export function bf16ToF32(halves: Uint16Array, out = new Float32Array(halves.length)): Float32Array {
  const bits = bitsOfF32(out);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return out;
}

/** @param out receives the bit patterns; same length as `values`. */
export function f32ToBf16(values: Float32Array, out = new Uint16Array(values.length)): Uint16Array {
  const bits = bitsOfF32(values);
  for (let i = 0; i < bits.length; i++) out[i] = narrowBf16(bits[i]!);
  return out;
}
