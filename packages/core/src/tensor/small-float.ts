import type { DType } from './tensor.js';

/** Sign, exponent and significand fields of the floats of a byte or less, and which patterns are not numbers. */
interface Layout {
  readonly exponentBits: number;
  readonly significandBits: number;
  readonly bias: number;
  readonly signed: boolean;
  /** The value of a pattern that is not a number of the usual form; undefined for all others. */
  readonly special: (pattern: number) => number | undefined;
}

const infinities = (pattern: number): number | undefined => {
  if ((pattern & 0x7c) !== 0x7c) return undefined;
  if ((pattern & 0x03) !== 0) return Number.NaN;
  return pattern === 0x7c ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
};

/**
 * OCP 8-bit Floating Point Specification (E4M3: no infinities, S.1111.111 is NaN; E5M2: as IEEE 754), OCP Microscaling
 * Formats (E8M0: a power of two without sign, E2M1), and the FNUZ variants (no infinities, the pattern of -0 is NaN).
 */
const layouts: Partial<Record<DType, Layout>> = {
  f8_e4m3: {
    exponentBits: 4,
    significandBits: 3,
    bias: 7,
    signed: true,
    special: (p) => ((p & 0x7f) === 0x7f ? NaN : undefined),
  },
  f8_e5m2: { exponentBits: 5, significandBits: 2, bias: 15, signed: true, special: infinities },
  f8_e4m3fnuz: {
    exponentBits: 4,
    significandBits: 3,
    bias: 8,
    signed: true,
    special: (p) => (p === 0x80 ? NaN : undefined),
  },
  f8_e5m2fnuz: {
    exponentBits: 5,
    significandBits: 2,
    bias: 16,
    signed: true,
    special: (p) => (p === 0x80 ? NaN : undefined),
  },
  f8_e8m0: {
    exponentBits: 8,
    significandBits: 0,
    bias: 127,
    signed: false,
    special: (p) => (p === 0xff ? NaN : 2 ** (p - 127)),
  },
  f4: { exponentBits: 2, significandBits: 1, bias: 1, signed: true, special: () => undefined },
};

function decode(pattern: number, { exponentBits, significandBits, bias, signed, special }: Layout): number {
  const value = special(pattern);
  if (value !== undefined) return value;
  const significand = pattern & ((1 << significandBits) - 1);
  const exponent = (pattern >> significandBits) & ((1 << exponentBits) - 1);
  const sign = signed && pattern >> (exponentBits + significandBits) ? -1 : 1;
  const fraction = significand / 2 ** significandBits;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

/** The value of every bit pattern (256, or 16 for f4); undefined for a dtype that is not a float of this size. */
export function smallFloatValues(dtype: DType): Float32Array | undefined {
  const layout = layouts[dtype];
  if (!layout) return undefined;
  const patterns = 1 << (layout.exponentBits + layout.significandBits + (layout.signed ? 1 : 0));
  return Float32Array.from({ length: patterns }, (_, pattern) => decode(pattern, layout));
}
