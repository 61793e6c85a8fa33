import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  type Adapter,
  encodeGguf,
  type GgufFile,
  type GgufValue,
  ggufOfAdapter,
  isPeftError,
  openGguf,
  readAdapter,
  readGgufAdapter,
} from '@peftjs/core';
import { memorySource } from '@peftjs/core/files';
import { bytesOf, f32, tensorRef } from '@peftjs/core/tensor';
import type { Listed } from './case.js';

interface TensorRecord {
  readonly name: string;
  readonly ne: readonly number[];
  readonly type: string;
  readonly hex: string;
}

interface Conversion {
  readonly alpha_in_file: number;
  readonly scale_folded_into_b: boolean;
  readonly n_head: number;
  readonly n_head_kv: number;
  readonly dtype: 'f32' | 'f16';
}

interface ValidRecord {
  readonly file: string;
  readonly bytes: number;
  readonly arch: string;
  readonly verdict: string;
  /** A file given by its numbers instead of a source. */
  readonly kv_order?: readonly string[];
  readonly source?: string;
  readonly conversion?: Conversion;
  readonly tensors?: readonly (TensorRecord | { name: string; row_major_shape: number[]; values: number[] })[];
  readonly kv?: Readonly<Record<string, { type: readonly string[]; value: unknown }>>;
}

interface MalformedRecord {
  readonly file: string;
  readonly strict_reader: string;
}

/** Head counts of the small base that the reference files belong to. */
const smallBase = { heads: 4, kvHeads: 2 };

/** gguf-py's names of the value types. */
const typeNames: Readonly<Record<string, string>> = {
  u8: 'UINT8',
  i8: 'INT8',
  u16: 'UINT16',
  i16: 'INT16',
  u32: 'UINT32',
  i32: 'INT32',
  f32: 'FLOAT32',
  bool: 'BOOL',
  string: 'STRING',
  u64: 'UINT64',
  i64: 'INT64',
  f64: 'FLOAT64',
  array: 'ARRAY',
};

/** A value as the index writes it: integers above 2^53 as text. */
function written(value: GgufValue): { type: string[]; value: unknown } {
  const plain = (v: unknown) => (typeof v === 'bigint' ? (Number.isSafeInteger(Number(v)) ? Number(v) : String(v)) : v);
  if (value.type !== 'array') return { type: [typeNames[value.type]!], value: plain(value.value) };
  return { type: ['ARRAY', typeNames[value.of]!], value: value.value.map(plain) };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Metadata and tensors as the index lists them. */
async function assertListed(file: GgufFile, record: ValidRecord): Promise<void> {
  for (const [key, value] of Object.entries(record.kv ?? {})) {
    const found = file.metadata.get(key);
    assert(found, `it has no ${key}`);
    assert.deepEqual(written(found), value, key);
  }
  assert.deepEqual(
    [...file.tensors.keys()],
    record.tensors!.map(({ name }) => name),
  );
  for (const given of record.tensors as readonly TensorRecord[]) {
    const tensor = file.tensors.get(given.name)!;
    assert.deepEqual([...tensor.shape].reverse(), given.ne, given.name);
    assert.equal(tensor.type, given.type);
    assert.equal(hex(bytesOf(await tensor.ref!.read())), given.hex, given.name);
  }
}

/** What is read and written again has the same bytes. */
async function assertRewritten({ metadata, tensors }: GgufFile, bytes: Uint8Array): Promise<void> {
  const refs = new Map([...tensors].map(([name, { ref }]) => [name, ref!]));
  assert.equal(hex(await encodeGguf({ metadata, tensors: refs })), hex(bytes));
}

/** The source converted as the record says: every tensor that the file has, to the bit. */
async function assertConverted(source: Adapter, file: GgufFile, { arch, conversion }: ValidRecord): Promise<void> {
  const { n_head, n_head_kv, dtype, scale_folded_into_b, alpha_in_file } = conversion!;
  const options = { modelType: arch, heads: n_head, kvHeads: n_head_kv, dtype, fold: scale_folded_into_b };
  const { metadata, tensors } = await ggufOfAdapter(source, options);
  assert.equal(metadata.get('adapter.lora.alpha')?.value, alpha_in_file);
  for (const [key, value] of metadata) assert.deepEqual(value, file.metadata.get(key), key);
  for (const [name, { ref }] of file.tensors) {
    const made = await tensors.get(name)?.read();
    assert(made, `"${name}" was not written`);
    assert.equal(hex(bytesOf(made)), hex(bytesOf(await ref!.read())), name);
  }
}

/** The file read as an adapter changes what its source changes, for the modules that the file has. */
async function assertSame(read: Adapter, source: Adapter, dtype: string): Promise<void> {
  for (const [path, [term]] of read.delta.params) {
    const [own] = source.delta.params.get(path)!;
    assert.deepEqual(read.delta.shape.get(path), source.delta.shape.get(path), path);
    for (const letter of ['a', 'b']) {
      const [got, want] = [await term!.tensors[letter]!.read(), await own!.tensors[letter]!.read()];
      assert.deepEqual(got.shape, want.shape, path);
      if (dtype === 'f32' && term!.meta.scale === own!.meta.scale) assert.deepEqual(got.data, want.data, path);
    }
  }
}

/** A file that the index gives by its numbers. */
async function fromNumbers(record: ValidRecord, file: GgufFile): Promise<Uint8Array> {
  const metadata = new Map(record.kv_order!.map((key) => [key, file.metadata.get(key)!]));
  const given = record.tensors as readonly { name: string; row_major_shape: number[]; values: number[] }[];
  const tensors = new Map(given.map((t) => [t.name, tensorRef(f32(t.row_major_shape, t.values))]));
  return encodeGguf({ metadata, tensors });
}

async function runValid(folder: string, record: ValidRecord): Promise<void> {
  const bytes = await readFile(join(folder, record.file));
  assert.equal(bytes.length, record.bytes);
  if (record.verdict.startsWith('reject')) return runMalformed(folder, { ...record, strict_reader: record.verdict });
  const file = await openGguf(join(folder, record.file));
  await assertRewritten(file, bytes);
  if (record.kv_order) {
    assert.equal(hex(await fromNumbers(record, file)), hex(bytes));
    return;
  }
  await assertListed(file, record);
  const source = await readAdapter(join(folder, record.source!), { warn() {} });
  await assertConverted(source, file, record);
  const { n_head: heads, n_head_kv: kvHeads, dtype } = record.conversion!;
  const read = await readGgufAdapter(memorySource(bytes), { base: { heads, kvHeads }, warn() {} });
  await assertSame(read, source, dtype);
}

async function runMalformed(folder: string, { file, strict_reader }: MalformedRecord): Promise<void> {
  const started = performance.now();
  const outcome = await readGgufAdapter(join(folder, file), { base: smallBase, warn() {} }).catch((error) => error);
  assert(performance.now() - started < 5000, 'it took more than 5 s');
  assert(
    outcome instanceof Error ? strict_reader.includes('reject') : !strict_reader.startsWith('reject'),
    `${outcome}`,
  );
  if (!(outcome instanceof Error)) return;
  assert(
    isPeftError(outcome) && outcome.code !== 'INTERNAL',
    `it failed with an error that is not typed: ${outcome.stack}`,
  );
  assert(outcome.message.length < 20_000, `the message has ${outcome.message.length} characters`);
}

/** GGUF adapters: read, converted from their sources and written to the same bytes; hostile ones by their verdicts. */
export async function* ggufCases(root: string): AsyncGenerator<Listed> {
  const folder = join(root, 'formats');
  const index = JSON.parse(await readFile(join(folder, 'gguf', 'cases.json'), 'utf8')) as {
    valid: ValidRecord[];
    malformed: MalformedRecord[];
  };
  for (const record of index.valid)
    yield { name: basename(record.file), kind: 'valid', run: () => runValid(folder, record) };
  for (const record of index.malformed)
    yield { name: basename(record.file), kind: 'malformed', run: () => runMalformed(folder, record) };
}
