import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  encodeSafetensors,
  fileSource,
  memorySource,
  nonFinite,
  openSafetensors,
  writeSafetensors,
} from '../src/files/index.js';
import { alloc, bytesOf, cast, dtypes, f32, type TensorRef, tensor, tensorRef } from '../src/tensor/index.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'peftjs-safetensors-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const named = (tensors: Record<string, ReturnType<typeof f32>>): Map<string, TensorRef> =>
  new Map(Object.entries(tensors).map(([name, value]) => [name, tensorRef(value)]));

/** A file of any header, right or wrong. */
function fileOf(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

const names = fc
  .string({ unit: 'grapheme', maxLength: 8 })
  .filter((name) => name !== '__metadata__' && !/\p{Surrogate}/u.test(name));
const writable = dtypes.filter((dtype) => !['i4', 'u4', 'bool'].includes(dtype)); // bool has only two valid bytes
const anyTensors = fc
  .uniqueArray(
    fc.record({
      name: names,
      dtype: fc.constantFrom(...writable),
      shape: fc.array(fc.constantFrom(0, 1, 4, 8), { minLength: 1, maxLength: 3 }),
      fill: fc.nat(255),
    }),
    { selector: ({ name }) => name, maxLength: 8 },
  )
  .map((list) =>
    list.map(({ name, dtype, shape, fill }) => {
      const value = alloc(dtype, ['f4', 'f6_e2m3', 'f6_e3m2'].includes(dtype) ? [...shape, 4] : shape);
      bytesOf(value).fill(fill);
      return [name, value] as const;
    }),
  );
const anyMetadata = fc.array(fc.tuple(names, names), { maxLength: 3 }).map((pairs) => new Map(pairs));

describe('writing and reading', () => {
  it('gives back every bit, name and metadata, in any order of writing with the same bytes', async () => {
    await fc.assert(
      fc.asyncProperty(anyTensors, anyMetadata, async (tensors, metadata) => {
        const refs = tensors.map(([name, value]) => [name, tensorRef(value)] as const);
        const bytes = await encodeSafetensors(new Map(refs), { metadata });
        expect(
          await encodeSafetensors(new Map(refs.toReversed()), { metadata: new Map([...metadata].reverse()) }),
        ).toEqual(bytes);
        const file = await openSafetensors(memorySource(bytes));
        expect(new Map(file.metadata)).toEqual(metadata);
        expect(file.tensors.size).toBe(tensors.length);
        for (const [name, value] of tensors) {
          const ref = file.tensors.get(name)!;
          expect([ref.dtype, ref.shape]).toEqual([value.dtype, value.shape]);
          expect(bytesOf(await ref.read())).toEqual(bytesOf(value));
        }
      }),
    );
  });

  it('writes a file that refers to itself, and leaves nothing else in the folder', async () => {
    const path = join(folder, 'new', 'a.safetensors');
    await writeSafetensors(path, named({ w: f32([2, 2], [1, 2, 3, 4]) }), { metadata: new Map([['format', 'pt']]) });
    expect(await readdir(join(folder, 'new'))).toEqual(['a.safetensors']);
    const { tensors } = await openSafetensors(path);
    const ref = tensors.get('w')!;
    const { offset, bytes } = ref.file!;
    const content = await readFile(ref.file!.path);
    expect(new Float32Array(new Uint8Array(content.subarray(offset, offset + bytes)).buffer)).toEqual(
      Float32Array.of(1, 2, 3, 4),
    );
    expect([...(await ref.read({ from: 1 })).data]).toEqual([3, 4]);
  });

  it('names everything that cannot be written', async () => {
    const tensors = new Map([
      ['__metadata__', tensorRef(f32([], [1]))],
      ['a', tensorRef(alloc('i4', [2]))],
      ['b', tensorRef(alloc('f4', [3]))],
      ['\ud800', tensorRef(f32([], [1]))],
    ]);
    const failure = encodeSafetensors(tensors);
    for (const part of [
      'cannot be named __metadata__',
      '"a" is i4',
      '"b" is f4 of shape [3]',
      'half of a surrogate pair',
    ])
      await expect(failure).rejects.toThrow(part);
  });

  it('keeps the old file when a tensor fails in the middle of writing', async () => {
    const path = join(folder, 'kept.safetensors');
    await writeSafetensors(path, named({ w: f32([1], [1]) }));
    const before = await readFile(path);
    const broken: TensorRef = { dtype: 'f32', shape: [1], read: () => Promise.reject(new Error('the disk is gone')) };
    await expect(
      writeSafetensors(path, new Map([...named({ a: f32([9], Array(9).fill(1)) }), ['b', broken]])),
    ).rejects.toThrow('the disk is gone');
    const short: TensorRef = { dtype: 'f32', shape: [2], read: async () => f32([1], [1]) };
    await expect(writeSafetensors(path, new Map([['b', short]]))).rejects.toThrow('announced 8 bytes and gave 4');
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(writeSafetensors(path, named({ w: f32([1], [2]) }), { signal })).rejects.toThrow('enough');
    expect(await readFile(path)).toEqual(before);
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});

describe('refusals', () => {
  it('reports everything wrong with a header at once', async () => {
    const header = {
      __metadata__: { n: 1 },
      a: { dtype: 'f32', shape: [1.5], data_offsets: [0, 99] },
      b: { dtype: 'F32', shape: [2], data_offsets: [0, 4], more: 1 },
    };
    const failure = openSafetensors(memorySource(fileOf(header, new Uint8Array(8))));
    for (const part of [
      '__metadata__ has 1 under "n"',
      'the dtype "f32"',
      'the size 1.5',
      'ends at byte 99',
      'unknown fields: "more"',
      'takes 8 bytes, but it has 4',
    ])
      await expect(failure).rejects.toThrow(part);
    await expect(failure).rejects.toMatchObject({ code: 'FILE_INVALID', details: { problems: { length: 6 } } });
  });

  it('keeps the message short however much is wrong', async () => {
    const header = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`${i}`.repeat(200), null]));
    const error = await openSafetensors(memorySource(fileOf(header))).catch((reason) => reason);
    expect(error.message).toContain('and 950 more');
    expect(error.message.length).toBeLessThan(10_000);
  });

  it.each([
    ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'git lfs pull'],
    ['a zip', 'PK\x03\x04\x14\x00\x00\x00\x08\x00', 'PyTorch checkpoint'],
    ['a GGUF', 'GGUF\x03\x00\x00\x00\x00\x00', 'GGUF reader'],
    ['a web page', '<!DOCTYPE html><html></html>', 'failed download'],
    ['JSON', '{"error": "Entry not found"}', 'This is JSON'],
  ])('recognises %s', async (_, text, advice) => {
    await expect(openSafetensors(memorySource(new TextEncoder().encode(text), 'model.safetensors'))).rejects.toThrow(
      advice,
    );
  });

  it('recognises a pickle', async () => {
    const pickle = Uint8Array.of(0x80, 2, 0x7d, 0x71, 0, 0x2e, 0, 0, 0, 0);
    await expect(openSafetensors(memorySource(pickle))).rejects.toThrow('Python pickle');
  });

  it('never crashes: a valid file with a byte changed or its end cut off opens or is refused with a typed error', async () => {
    const valid = await encodeSafetensors(named({ a: f32([2], [1, 2]), b: f32([1], [3]) }), {
      metadata: new Map([['k', 'v']]),
    });
    await fc.assert(
      fc.asyncProperty(fc.nat(valid.length - 1), fc.nat(255), fc.nat(valid.length), async (at, byte, length) => {
        const damaged = valid.slice(0, Math.max(length, at + 1));
        damaged[at] = byte;
        await openSafetensors(memorySource(damaged)).then(
          async ({ tensors }) => {
            for (const ref of tensors.values()) await ref.read();
          },
          (error) => expect(error.code).toBe('FILE_INVALID'),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it('notices a file that is replaced or closed after it was opened', async () => {
    const path = join(folder, 'changing.safetensors');
    await writeSafetensors(path, named({ w: f32([1], [1]) }));
    const file = await openSafetensors(path);
    const ref = file.tensors.get('w')!;
    expect((await ref.read()).data[0]).toBe(1);
    await writeSafetensors(path, named({ w: f32([1], [2]) }));
    await expect(ref.read()).rejects.toThrow('has changed since it was opened');
    await file.close();
    await expect(ref.read()).rejects.toThrow('has been closed');
  });

  it('refuses folders, devices and files that are not there', async () => {
    await expect(openSafetensors(folder)).rejects.toMatchObject({ code: 'FILE_INVALID' });
    await expect(fileSource('/dev/zero')).rejects.toThrow('is a device');
    await expect(openSafetensors(join(folder, 'none.safetensors'))).rejects.toMatchObject({ code: 'FILE_MISSING' });
    const empty = join(folder, 'empty.safetensors');
    await writeFile(empty, '');
    await expect(openSafetensors(empty)).rejects.toThrow('it has 0 bytes');
  });
});

describe('nonFinite', () => {
  it('finds NaN and infinity in every float type and gives count and first place', async () => {
    const source = f32([4], [1, Number.NaN, Number.POSITIVE_INFINITY, 0]);
    const tensors = new Map<string, TensorRef>([
      ['fine', tensorRef(f32([2], [1, 2]))],
      ['ids', tensorRef(alloc('i64', [3]))],
    ]);
    for (const dtype of ['f64', 'f32', 'f16', 'bf16'] as const) tensors.set(dtype, tensorRef(cast(source, dtype)));
    tensors.set('f8', tensorRef(tensor('f8_e4m3', [3], Uint8Array.of(0x7e, 0x7f, 0xff))));
    expect(await nonFinite(tensors)).toEqual(
      ['f64', 'f32', 'f16', 'bf16', 'f8'].map((name) => ({ name, count: 2, index: 1 })),
    );
  });
});
