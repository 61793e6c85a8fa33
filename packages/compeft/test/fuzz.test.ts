import { compress, contentDigest, createRandom, isPeftError, readCompressed } from '@peftjs/core';
import { memorySource, sha256 } from '@peftjs/core/files';
import { describe, expect, it } from 'vitest';
import { decodeDelta, encodeDelta } from '../src/file.js';
import { compeft, readRice } from '../src/index.js';
import { joined, mixedDelta } from './support.js';

const rng = createRandom(7);

/** Puts the right checksum on bytes that were changed, so that what lies behind it is reached. */
async function signed(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.length < 16) return bytes;
  const hex = await sha256(bytes.subarray(16));
  for (let i = 0; i < 8; i++) bytes[8 + i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/** One to four changes: a byte, a bit, a cut, a doubled run, an insertion. */
function mutated(bytes: Uint8Array, draw: (n: number) => number): Uint8Array {
  let out: Uint8Array = bytes.slice();
  for (let n = 1 + draw(4); n > 0; n--) {
    const at = draw(out.length);
    switch (draw(5)) {
      case 0:
        out[at] = draw(256);
        break;
      case 1:
        out[at]! ^= 1 << draw(8);
        break;
      case 2:
        out = out.slice(0, Math.max(1, at));
        break;
      case 3:
        out = joined([out.subarray(0, at), out.subarray(at, at + 8), out.subarray(at)]);
        break;
      default:
        out = joined([out.subarray(0, at), Uint8Array.of(draw(256)), out.subarray(at)]);
    }
  }
  return out;
}

/** Whole numbers below n, one after the other. */
function draws(name: string): (n: number) => number {
  const own = rng.fork(name);
  let held = own.bits(4096);
  let at = 0;
  let round = 0;
  return (n) => {
    if (at === held.length) {
      held = rng.fork(`${name} ${++round}`).bits(4096);
      at = 0;
    }
    return held[at++]! % n;
  };
}

describe('hostile files', () => {
  it('10,000 changed files are read or refused with FILE_INVALID, never anything else', async () => {
    const { pieces } = await compress(compeft({ density: 0.1, scope: 'factor' }), mixedDelta()).result();
    const original = joined(pieces);
    const draw = draws('files');
    const codes = new Map<string, number>();
    for (let i = 0; i < 10_000; i++) {
      const file = mutated(original, draw);
      const bytes = i % 10 === 0 ? file : await signed(file);
      let code = 'read';
      try {
        await readCompressed(memorySource(bytes), { codecs: [compeft] });
      } catch (error) {
        if (!isPeftError(error)) throw error;
        code = error.code;
      }
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
    // Another mark at the front is a file of nobody here.
    expect([...codes.keys()].filter((code) => !['read', 'FILE_INVALID', 'CONFIG_UNSUPPORTED'].includes(code))).toEqual(
      [],
    );
    expect(codes.get('FILE_INVALID')).toBeGreaterThan(8000);
  }, 300_000);

  it('10,000 changed headers and streams behind a valid frame', async () => {
    const { adapter } = await compress(compeft({ density: 0.1 }), mixedDelta()).result();
    const packed = await compeft.codec.encode(adapter.delta);
    const text = JSON.stringify(packed.header);
    const draw = draws('headers');
    const numbers = [
      '0',
      '-1',
      '1e9',
      '4294967297',
      '9007199254740993',
      '0.5',
      '1e308',
      'null',
      '"x"',
      '[]',
      '31',
      '32',
    ];
    let [refused, read] = [0, 0];
    for (let i = 0; i < 10_000; i++) {
      let header: unknown;
      const places = [...text.matchAll(/-?\d+(\.\d+)?/g)];
      const place = places[draw(places.length)]!;
      const other =
        text.slice(0, place.index) + numbers[draw(numbers.length)]! + text.slice(place.index + place[0].length);
      try {
        header = JSON.parse(i % 2 ? other : text);
      } catch {
        continue; // a change within a number that is no number any more
      }
      const sections = packed.sections.map((section) => (draw(3) === 0 ? mutated(section, draw) : section));
      try {
        const delta = await decodeDelta({ ...packed, header, sections }, 'The file');
        const again = await decodeDelta(await encodeDelta(delta), 'Itself');
        const [a, b] = await Promise.all([delta, again].map((d) => contentDigest({ delta: d, replaced: new Map() })));
        expect(b).toBe(a); // what is read is a delta like any other
        read++;
      } catch (error) {
        if (!isPeftError(error) || error.code !== 'FILE_INVALID') throw error;
        refused++;
      }
    }
    // Both outcomes are reached, so the changes go deep enough to matter.
    expect(refused).toBeGreaterThan(1000);
    expect(read).toBeGreaterThan(1000);
  }, 300_000);

  it('a few bytes cannot claim a large memory', async () => {
    const header = { terms: [[{ s: 1 }]], streams: [[1, 0, 0]] };
    const shape = new Map([['w', [2 ** 20, 2 ** 11]]]);
    const claim = decodeDelta({ shape, header, sections: [new Uint8Array(0)] }, 'The file');
    await expect(claim).rejects.toMatchObject({ code: 'FILE_INVALID', message: expect.stringContaining('too many') });
    const many = { numel: 2 ** 31, nnz: 2 ** 31, b: 0 };
    expect(() => readRice(new Uint8Array(8), many, () => {})).toThrow(/cannot hold/);
  });
});
