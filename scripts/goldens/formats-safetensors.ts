import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isPeftError } from '@peftjs/core';
import {
  type ByteSource,
  encodeSafetensors,
  memorySource,
  nonFinite,
  openSafetensors,
  openWeights,
  type WeightFile,
} from '@peftjs/core/files';
import { bytesOf, cast, type TensorRef } from '@peftjs/core/tensor';

/** A reference case as a test or a runner calls it: `run` throws when the library disagrees with the reference. */
export interface GoldenCase {
  readonly name: string;
  readonly kind: string;
  run(): Promise<void>;
}

interface TensorRecord {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
  readonly hex?: string;
  readonly values?: readonly unknown[] | null;
}

interface ValidRecord {
  readonly file: string;
  readonly data_start: number;
  readonly tensors: readonly TensorRecord[] | { count: number; first: TensorRecord; last: TensorRecord };
  readonly metadata?: Readonly<Record<string, string>>;
  readonly canonical_writer_output?: boolean;
}

interface MalformedRecord {
  readonly file: string;
  readonly strict_reader: string;
}

interface ShardedRecord {
  readonly dir: string;
  readonly verdict: string;
  readonly tensors?: Readonly<Record<string, { shape: readonly number[]; shard: string }>>;
}

const readJson = async <T>(path: string): Promise<T> => JSON.parse(await readFile(path, 'utf8')) as T;

/** Where a verdict leaves the choice, the library refuses. */
const mustReject = (verdict: string): boolean => verdict.includes('reject');

/** Reads every tensor, so that what is only checked on reading counts too. */
async function readAll(file: WeightFile): Promise<Map<string, Uint8Array>> {
  const all = new Map<string, Uint8Array>();
  for (const [name, ref] of file.tensors) all.set(name, bytesOf(await ref.read()));
  return all;
}

async function assertRejected(open: () => Promise<WeightFile>): Promise<void> {
  try {
    await readAll(await open());
  } catch (error) {
    assert(isPeftError(error), `it failed with an error that is not typed: ${error}`);
    assert.equal(error.code, 'FILE_INVALID', error.message);
    assert(error.message.length < 20_000, `the message has ${error.message.length} characters`);
    return;
  }
  assert.fail('it was accepted');
}

/** Writing what was read and reading that again must give the same bits, in any file. */
async function assertRoundTrip(file: WeightFile): Promise<void> {
  const { tensors, metadata } = file;
  const again = await openSafetensors(memorySource(await encodeSafetensors(tensors, { metadata })));
  assert.deepEqual(
    await readAll(again).then((all) => [...all].sort()),
    await readAll(file).then((all) => [...all].sort()),
  );
  assert.deepEqual([...again.metadata].sort(), [...metadata].sort());
}

/** Numbers as the reference writes them in JSON. */
const written = (value: number): unknown =>
  Number.isFinite(value) && !Object.is(value, -0) ? value : Object.is(value, -0) ? '-0' : String(value);

async function decode(ref: TensorRef): Promise<unknown[]> {
  const tensor = await ref.read();
  const { data, dtype } = tensor;
  if (dtype === 'bool') return Array.from(data as Uint8Array, Boolean);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Array.from(data, String);
  if (dtype !== 'c64') return Array.from(cast(tensor, 'f64').data as Float64Array, written);
  const parts = data as Float32Array;
  return Array.from({ length: parts.length / 2 }, (_, i) => [written(parts[2 * i]!), written(parts[2 * i + 1]!)]);
}

async function assertTensor(file: WeightFile, record: TensorRecord, dataStart: number, path: string): Promise<void> {
  const ref = file.tensors.get(record.name);
  assert(ref, `the tensor ${record.name} was not found`);
  const [begin, end] = record.data_offsets;
  assert.equal(ref.dtype.toUpperCase(), record.dtype);
  assert.deepEqual(ref.shape, record.shape);
  assert.deepEqual(ref.file, { path, offset: dataStart + begin, bytes: end - begin });
  if (record.hex !== undefined) assert.equal(Buffer.from(bytesOf(await ref.read())).toString('hex'), record.hex);
  if (!record.values) return;
  const values = await decode(ref);
  // F4 has a negative zero (OCP Microscaling Formats, E2M1); the reference writes it without its sign.
  assert.deepEqual(ref.dtype === 'f4' ? values.map((value) => (value === '-0' ? 0 : value)) : values, record.values);
}

async function runValid(folder: string, record: ValidRecord): Promise<void> {
  const path = join(folder, record.file);
  const file = await openSafetensors(path);
  assert.deepEqual(file.warnings, []);
  const { tensors } = record;
  const known = 'count' in tensors ? [tensors.first, tensors.last] : tensors;
  assert.equal(file.tensors.size, 'count' in tensors ? tensors.count : tensors.length);
  assert.deepEqual(Object.fromEntries(file.metadata), record.metadata ?? {});
  for (const tensor of known) await assertTensor(file, tensor, record.data_start, path);
  await assertRoundTrip(file);
  if (!record.canonical_writer_output) return;
  const encoded = await encodeSafetensors(file.tensors, { metadata: file.metadata });
  assert.equal(Buffer.from(encoded).toString('hex'), (await readFile(path)).toString('hex'));
}

async function runMalformed(folder: string, record: MalformedRecord): Promise<void> {
  const path = join(folder, record.file);
  const bytes = await readFile(path);
  if (mustReject(record.strict_reader)) {
    await assertRejected(() => openSafetensors(path));
    await assertRejected(() => openSafetensors(memorySource(bytes)));
    return;
  }
  const file = await openSafetensors(path);
  const warned = file.warnings.length > 0 || (await nonFinite(file.tensors)).length > 0;
  assert.equal(warned, record.strict_reader === 'accept-with-warning', 'a warning was given or is missing');
  await assertRoundTrip(file);
}

/** A copy of a folder in which each `NAME.symlink` has become a link to a readable file. */
async function withLinks(folder: string, dir: string, run: (copy: string) => Promise<void>): Promise<void> {
  const temporary = await mkdtemp(join(tmpdir(), 'peftjs-sharded-'));
  try {
    const copy = join(temporary, dir);
    await cp(join(folder, dir), copy, { recursive: true, mode: 0 });
    for (const name of (await readdir(copy)).filter((file) => file.endsWith('.symlink'))) {
      const link = name.slice(0, -'.symlink'.length);
      const target = (await readFile(join(copy, name), 'utf8')).trim();
      await cp(join(folder, 'sharded/three-shards', link), join(copy, target));
      await symlink(target, join(copy, link));
    }
    await run(copy);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function runSharded(folder: string, record: ShardedRecord): Promise<void> {
  await withLinks(folder, record.dir, async (copy) => {
    if (mustReject(record.verdict)) return assertRejected(() => openWeights(copy));
    const weights = await openWeights(copy);
    assert.equal(weights.warnings.length > 0, record.verdict === 'accept-with-warning', weights.warnings.join('\n'));
    for (const [name, { shape, shard }] of Object.entries(record.tensors ?? {})) {
      const ref = weights.tensors.get(name);
      assert.deepEqual([ref?.shape, ref?.file?.path], [shape, join(copy, shard)]);
    }
    if (record.tensors) assert.equal(weights.tensors.size, Object.keys(record.tensors).length);
    await assertRoundTrip(weights);
  });
}

/** A file of one header, made in memory. */
function headerOnly(header: string): Uint8Array {
  const file = new Uint8Array(8 + header.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  new TextEncoder().encodeInto(header, file.subarray(8));
  return file;
}

/** Counts what is read, to prove that a file is refused without reading it. */
function counted(source: ByteSource): { readonly source: ByteSource; readonly bytes: () => number } {
  let bytes = 0;
  const read: ByteSource['read'] = (from, to, options) => {
    bytes += to - from;
    return source.read(from, to, options);
  };
  return { source: { ...source, read }, bytes: () => bytes };
}

async function runHugeHeader(): Promise<void> {
  const file = headerOnly(`{"__metadata__":{"k":"${'a'.repeat(100_000_000)}"}}`);
  const { source, bytes } = counted(memorySource(file));
  await assertRejected(() => openSafetensors(source));
  assert(bytes() <= 64, `${bytes()} bytes were read of a header over the limit`);
}

/** Keys of every kind that fits under the limit of the header. */
async function runManyKeys(count: number, entry: string): Promise<void> {
  const members = Array.from({ length: count }, (_, i) => `"${i}":${entry}`);
  const file = headerOnly(`{${members.join(',')}}`);
  const start = performance.now();
  await assertRejected(() => openSafetensors(memorySource(file)));
  const seconds = (performance.now() - start) / 1000;
  assert(seconds < 20, `${count} keys took ${seconds} s to refuse`);
}

/**
 * The reference cases of safetensors: valid, malformed, sharded and hostile files, and the hazards too large to ship.
 * @param root the folder of the goldens.
 */
export async function* safetensorsCases(root: string): AsyncGenerator<GoldenCase> {
  const folder = join(root, 'formats', 'safetensors');
  const valid = await readJson<{ files: ValidRecord[] }>(join(folder, 'valid.json'));
  for (const record of valid.files) yield { name: record.file, kind: 'valid', run: () => runValid(folder, record) };
  const malformed = await readJson<{ files: MalformedRecord[] }>(join(folder, 'malformed.json'));
  for (const record of malformed.files)
    yield { name: record.file, kind: 'malformed', run: () => runMalformed(folder, record) };
  const sharded = await readJson<{ valid: ShardedRecord[]; malformed: ShardedRecord[] }>(join(folder, 'sharded.json'));
  for (const record of [...sharded.valid, ...sharded.malformed])
    yield { name: record.dir, kind: dirname(record.dir), run: () => runSharded(folder, record) };
  yield { name: 'a header over 100 MB', kind: 'hazard', run: runHugeHeader };
  yield { name: '5 million keys', kind: 'hazard', run: () => runManyKeys(5_000_000, '0') };
  const empty = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
  yield { name: '1.5 million tensors', kind: 'hazard', run: () => runManyKeys(1_500_000, empty) };
}
