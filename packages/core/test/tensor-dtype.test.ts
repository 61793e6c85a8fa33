import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  alloc,
  arrayLength,
  bitsOf,
  byteLength,
  bytesOf,
  cast,
  type DType,
  dtypes,
  elementCount,
  f32,
  fromBytes,
  packInt4,
  readInPieces,
  tensor,
  tensorRef,
  toF32,
  unpackI4,
  unpackU4,
} from '../src/tensor/index.js';

const shapes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
const anyDtype = fc.constantFrom(...dtypes);

describe('sizes', () => {
  it('allocates as many bytes as dtype and shape take', () => {
    fc.assert(
      fc.property(anyDtype, shapes, (dtype, shape) => {
        const made = alloc(dtype, shape);
        expect(made.data.byteLength).toBe(Math.ceil((elementCount(shape) * bitsOf(dtype)) / 8));
        expect(byteLength(dtype, shape)).toBe(made.data.byteLength);
        expect(arrayLength(dtype, shape)).toBe(made.data.length);
      }),
    );
  });

  it('is exact far above 2^32 and refuses what a number cannot hold', () => {
    expect(byteLength('i4', [2 ** 40 + 1])).toBe(2 ** 39 + 1);
    expect(byteLength('f32', [0, 2 ** 40, 2 ** 40])).toBe(0);
    expect(() => byteLength('f32', [2 ** 40, 2 ** 40])).toThrow('more than 2^53 elements');
    expect(() => byteLength('f64', [2 ** 52])).toThrow('more than 2^53 bytes');
    for (const size of [-1, 1.5, NaN, -0]) expect(() => elementCount([size])).toThrow('use integers from 0 up');
  });

  it('names dtype, shape and both lengths when data does not fit', () => {
    expect(() => f32([2, 3], [1])).toThrow('is f32 of shape [2,3], which takes 6 stored values, but its data has 1');
    expect(() => tensor('f16', [1], new Float32Array(1))).toThrow('use a Uint16Array');
    expect(() => fromBytes('f32', [2], new Uint8Array(7))).toThrow('takes 8 bytes, but 7 were given');
  });
});

describe('bytes as a tensor', () => {
  it('is a view where the address allows it and a copy elsewhere, with the same values', () => {
    const { buffer } = Float32Array.of(0, 1, 2);
    const view = fromBytes('f32', [2], new Uint8Array(buffer, 4, 8));
    expect(view.data.buffer).toBe(buffer);
    const shifted = new Uint8Array(13);
    shifted.set(new Uint8Array(buffer), 1);
    const copy = fromBytes('f32', [3], shifted.subarray(1));
    expect(copy.data.buffer).not.toBe(shifted.buffer);
    expect([...copy.data]).toEqual([0, 1, 2]);
  });
});

describe('four-bit values', () => {
  it('packs the low half first and unpacks what it packed', () => {
    expect([...packInt4([1, 2, 15])]).toEqual([0x21, 0x0f]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -8, max: 7 })), (values) => {
        expect([...unpackI4(packInt4(values), values.length)]).toEqual(values);
        const unsigned = values.map((value) => value & 15);
        expect([...unpackU4(packInt4(values), values.length)]).toEqual(unsigned);
      }),
    );
  });
});

describe('conversions', () => {
  const integers: readonly DType[] = ['i64', 'i32', 'i16', 'i8', 'i4', 'u64', 'u32', 'u16', 'u8', 'u4'];

  it('casts small integers between all types without a change', () => {
    const source = f32([2, 2], [0, 1, 5, 7]);
    for (const through of [...integers, 'f64', 'f16', 'bf16'] as const) {
      const there = cast(source, through);
      expect(there.dtype).toBe(through);
      expect([...toF32(there).data]).toEqual([0, 1, 5, 7]);
      expect(cast(there, 'i64').data).toEqual(BigInt64Array.of(0n, 1n, 5n, 7n));
    }
  });

  it('keeps 64-bit integers exact, drops fractions, and refuses what does not fit', () => {
    const big = tensor('i64', [2], BigInt64Array.of(2n ** 53n + 1n, -1n));
    expect(() => cast(big, 'u64')).toThrow('Element 1 of a i64 tensor is -1, outside the range of u64');
    expect(cast(tensor('u64', [1], BigUint64Array.of(2n ** 53n + 1n)), 'i64').data[0]).toBe(2n ** 53n + 1n);
    expect([...cast(f32([3], [1.9, -1.9, -0.5]), 'i8').data]).toEqual([1, -1, 0]);
    expect(() => cast(f32([1], [128]), 'i8')).toThrow('outside the range of i8 (-128 to 127)');
    expect(() => cast(f32([1], [NaN]), 'i32')).toThrow('is NaN');
    expect(() => cast(f32([1], [2 ** 63]), 'i64')).toThrow('outside the range');
    expect([...cast(f32([3], [0, -0, 0.5]), 'bool').data]).toEqual([0, 0, 1]);
  });

  it('does not copy what has the dtype already, and refuses types that are only copied', () => {
    const values = f32([1], [1]);
    expect(toF32(values)).toBe(values);
    expect(() => toF32(alloc('c64', [1]))).toThrow('is complex');
    expect(() => toF32(alloc('f6_e2m3', [4]))).toThrow('no agreed packing');
    expect(() => cast(values, 'f8_e4m3')).toThrow('cannot be written as f8_e4m3');
  });
});

describe('references', () => {
  it('reads rows as slices of the whole, in one read or in pieces', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyDtype,
        fc.integer({ min: 1, max: 9 }),
        shapes,
        fc.integer({ min: 1, max: 40 }),
        async (dtype, rows, rest, maxBytes) => {
          const shape = [rows, ...rest];
          const whole = alloc(dtype, shape);
          bytesOf(whole).forEach((_, i, bytes) => {
            bytes[i] = i;
          });
          const pieces: number[] = [];
          let seen = 0;
          for await (const piece of readInPieces(tensorRef(whole), { maxBytes })) {
            pieces.push(...bytesOf(piece));
            seen += piece.shape[0]!;
            expect(piece.shape.slice(1)).toEqual(rest);
          }
          expect(seen).toBe(rows);
          expect(pieces).toEqual([...bytesOf(whole)]);
        },
      ),
    );
  });

  it('refuses rows that do not exist or begin inside a byte', async () => {
    const ref = tensorRef(f32([2, 2], [1, 2, 3, 4]));
    expect([...(await ref.read({ from: 1 })).data]).toEqual([3, 4]);
    expect((await ref.read({ from: 1, to: 1 })).shape).toEqual([0, 2]);
    await expect(ref.read({ from: 1, to: 3 })).rejects.toThrow('Rows 1 to 3 do not exist');
    await expect(tensorRef(f32([], [1])).read({ from: 0, to: 1 })).rejects.toThrow('shape []');
    await expect(tensorRef(alloc('i4', [3, 3])).read({ from: 1 })).rejects.toThrow('do not begin or end on a byte');
  });
});
