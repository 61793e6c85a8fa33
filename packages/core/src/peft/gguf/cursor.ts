import { PeftError } from '../../errors.js';
import type { GgufScalar, GgufScalarType } from './types.js';

/** Thrown when the header goes on behind the bytes that were read so far. */
export class MoreBytes extends Error {
  readonly needed: number;

  constructor(needed: number) {
    super(`${needed} bytes are needed`);
    this.needed = needed;
  }
}

/** Reads little-endian values one after the other, and never beyond the end of the file. */
export type Cursor = ReturnType<typeof createCursor>;

/** @param size of the whole file, of which `bytes` are the first ones */
export function createCursor(bytes: Uint8Array, size: number, subject: string) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;

  const fail = (problem: string): never => {
    throw new PeftError('FILE_INVALID', `${subject}: ${problem}.`, { details: { position: at } });
  };

  /** Where the next `length` bytes begin. @throws PeftError FILE_INVALID when the file ends before them */
  function take(length: number, what: string): number {
    if (at + length > size) fail(`the file ends at byte ${size}, within ${what} at byte ${at}`);
    if (at + length > bytes.length) throw new MoreBytes(at + length);
    const from = at;
    at += length;
    return from;
  }

  const u32 = (what: string): number => view.getUint32(take(4, what), true);
  const u64 = (what: string): bigint => view.getBigUint64(take(8, what), true);

  /** A number of things that take at least `each` bytes: more than the file could hold is refused before any is read. */
  function count(what: string, each: number): number {
    const value = u64(what);
    if (value > BigInt(Math.floor((size - at) / each)))
      fail(`${what} is ${value}, more than the ${size - at} bytes that are left can hold`);
    return Number(value);
  }

  function text(what: string): string {
    const length = count(`the length of ${what}`, 1);
    const from = take(length, what);
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(from, from + length));
    } catch {
      return fail(`${what} is not UTF-8`);
    }
  }

  const scalars: Readonly<Record<GgufScalarType, (what: string) => GgufScalar>> = {
    u8: (what) => view.getUint8(take(1, what)),
    i8: (what) => view.getInt8(take(1, what)),
    u16: (what) => view.getUint16(take(2, what), true),
    i16: (what) => view.getInt16(take(2, what), true),
    u32,
    i32: (what) => view.getInt32(take(4, what), true),
    f32: (what) => view.getFloat32(take(4, what), true),
    f64: (what) => view.getFloat64(take(8, what), true),
    u64,
    i64: (what) => view.getBigInt64(take(8, what), true),
    string: text,
    bool(what) {
      const byte = view.getUint8(take(1, what));
      return byte > 1 ? fail(`${what} is a bool with the byte ${byte}`) : byte === 1;
    },
  };

  return {
    u32,
    u64,
    count,
    text,
    fail,
    scalar: (type: GgufScalarType, what: string): GgufScalar => scalars[type](what),
    get position() {
      return at;
    },
  };
}
