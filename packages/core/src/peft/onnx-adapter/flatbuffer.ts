import { PeftError } from '../../errors.js';

/** A table of a FlatBuffer whose bounds were checked; fields by their index in the schema. */
export interface Table {
  int(field: number): number;
  /** Undefined where the field is absent. */
  string(field: number): string | undefined;
  longs(field: number): readonly bigint[] | undefined;
  bytes(field: number): Uint8Array | undefined;
  tables(field: number): readonly Table[] | undefined;
}

/**
 * The root table of a FlatBuffer. Every offset is followed only inside the buffer, so a hostile file costs no more than
 * its own size. Bytes behind the last object cannot be told from padding and are let pass.
 * @throws PeftError FILE_INVALID
 */
export function rootTable(buffer: Uint8Array, identifier: string, subject: string): Table {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const fail = (problem: string): never => {
    throw new PeftError('FILE_INVALID', `${subject}: ${problem}.`);
  };
  const within = (at: number, length: number, what: string): number =>
    at >= 0 && at + length <= buffer.length
      ? at
      : fail(`${what} would take bytes ${at} to ${at + length} of ${buffer.length}`);
  const u16 = (at: number, what: string) => view.getUint16(within(at, 2, what), true);
  const u32 = (at: number, what: string) => view.getUint32(within(at, 4, what), true);

  /** What the offset at `at` points to. */
  function follow(at: number, what: string): number {
    const offset = u32(at, what);
    return offset === 0 ? fail(`${what} points to itself`) : at + offset;
  }

  /** Start and length of a vector whose elements take `each` bytes. */
  function vector(at: number, each: number, what: string) {
    const start = follow(at, what);
    const length = u32(start, what);
    return { start: within(start + 4, length * each, what), length };
  }

  function text(at: number): string {
    const { start, length } = vector(at, 1, 'a name');
    if (view.getUint8(within(start + length, 1, 'the end of a name')) !== 0) fail('a name does not end with a zero');
    try {
      const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
      return utf8.decode(buffer.subarray(start, start + length));
    } catch {
      return fail('a name is not UTF-8');
    }
  }

  function table(at: number, what: string): Table {
    const vtable = at - view.getInt32(within(at, 4, what), true);
    const vtableBytes = u16(vtable, `the fields of ${what}`);
    within(vtable, vtableBytes, `the fields of ${what}`);
    const tableBytes = u16(vtable + 2, `the size of ${what}`);
    within(at, tableBytes, what);
    if (vtableBytes < 4 || vtableBytes % 2 !== 0 || tableBytes < 4) fail(`${what} has no valid list of fields`);

    /** Where a field's 4 bytes lie; undefined when it is absent. */
    function place(field: number): number | undefined {
      const entry = 4 + 2 * field;
      const offset = entry + 2 <= vtableBytes ? u16(vtable + entry, what) : 0;
      if (offset !== 0 && (offset < 4 || offset + 4 > tableBytes)) fail(`field ${field} of ${what} lies outside of it`);
      return offset === 0 ? undefined : at + offset;
    }
    const read = <T>(field: number, from: (at: number) => T): T | undefined => {
      const found = place(field);
      return found === undefined ? undefined : from(found);
    };
    return {
      int: (field) => read(field, (from) => view.getInt32(from, true)) ?? 0,
      string: (field) => read(field, text),
      bytes: (field) =>
        read(field, (from) => {
          const { start, length } = vector(from, 1, 'a list of bytes');
          return buffer.subarray(start, start + length);
        }),
      longs: (field) =>
        read(field, (from) => {
          const { start, length } = vector(from, 8, 'a list of extents');
          return Array.from({ length }, (_, i) => view.getBigInt64(start + 8 * i, true));
        }),
      tables: (field) =>
        read(field, (from) => {
          const { start, length } = vector(from, 4, 'a list of tables');
          return Array.from({ length }, (_, i) => table(follow(start + 4 * i, `table ${i}`), `table ${i}`));
        }),
    };
  }

  if (buffer.length < 8) return fail(`it has ${buffer.length} bytes, too few for its identifier`);
  const found = String.fromCharCode(...buffer.subarray(4, 8));
  if (found !== identifier)
    fail(
      `it has the identifier ${JSON.stringify(found)} at byte 4; "${identifier}" is needed. It is of another format`,
    );
  return table(follow(0, 'the root'), 'the root');
}
