import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import {
  type Adapter,
  encodeOnnxAdapter,
  isPeftError,
  onnxParameters,
  openOnnxAdapter,
  readAdapter,
  readOnnxAdapter,
  scale,
} from '@peftjs/core';
import { memorySource } from '@peftjs/core/files';
import { onnxCode } from '@peftjs/core/graph';
import { bytesOf, type TensorRef } from '@peftjs/core/tensor';
import type { Listed } from './case.js';

interface ValidRecord {
  readonly file: string;
  readonly bytes: number;
  readonly adapter_version: number;
  readonly model_version: number;
  readonly parameters: readonly { name: string; dims: number[]; data_type: number; raw_hex: string }[];
  /** The PEFT folder that it was made of. */
  readonly source?: string;
}

interface MalformedRecord {
  readonly file: string;
  readonly strict_reader: string;
}

type Parameters = ReadonlyMap<string, TensorRef>;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

async function contentOf(parameters: Parameters): Promise<ValidRecord['parameters']> {
  const listed = [];
  for (const [name, ref] of parameters) {
    const { dtype, shape } = ref;
    listed.push({ name, dims: [...shape], data_type: onnxCode(dtype)!, raw_hex: hex(bytesOf(await ref.read())) });
  }
  return listed.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The source converted gives the parameters of the file, and the file read as an adapter gives them again. */
async function assertConverted(folder: string, bytes: Uint8Array, record: ValidRecord, listed: unknown): Promise<void> {
  const source = await readAdapter(join(folder, record.source!), { warn() {} });
  const dtype = record.parameters[0]!.data_type === onnxCode('f16') ? 'f16' : 'f32';
  const rank = [...source.delta.params.values()][0]![0]!.tensors.a!.shape[0]!;
  // The index does not say whether the factors were taken as LoRA or as rsLoRA: alpha / r or alpha / sqrt(r).
  const scaled: Adapter[] = [source, scale(source, Math.sqrt(rank))];
  const made = await Promise.all(scaled.map(async (adapter) => contentOf(await onnxParameters(adapter, { dtype }))));
  assert(
    made.some((parameters) => isDeepStrictEqual(parameters, listed)),
    'neither scale gives these parameters',
  );
  assert.deepEqual(
    await contentOf(await onnxParameters(await readOnnxAdapter(memorySource(bytes)), { dtype })),
    listed,
  );
}

async function runValid(folder: string, record: ValidRecord): Promise<void> {
  const bytes = await readFile(join(folder, record.file));
  assert.equal(bytes.length, record.bytes);
  const { adapterVersion, modelVersion, parameters, warnings } = await openOnnxAdapter(join(folder, record.file));
  assert.deepEqual([adapterVersion, modelVersion, warnings], [record.adapter_version, record.model_version, []]);
  const listed = await contentOf(parameters);
  assert.deepEqual(
    listed,
    [...record.parameters].sort((a, b) => (a.name < b.name ? -1 : 1)),
  );
  const written = await encodeOnnxAdapter({ adapterVersion, modelVersion, parameters });
  const again = await openOnnxAdapter(memorySource(written));
  assert.deepEqual([again.adapterVersion, again.modelVersion], [adapterVersion, modelVersion]);
  assert.deepEqual(await contentOf(again.parameters), listed);
  if (record.source) await assertConverted(folder, bytes, record, listed);
}

async function runMalformed(folder: string, { file, strict_reader }: MalformedRecord): Promise<void> {
  const started = performance.now();
  const outcome = await openOnnxAdapter(join(folder, file)).catch((error: unknown) => error as Error);
  assert(performance.now() - started < 5000, 'it took more than 5 s');
  if (outcome instanceof Error) {
    assert(isPeftError(outcome) && outcome.code === 'FILE_INVALID', `it failed otherwise: ${outcome.stack}`);
    assert(outcome.message.length < 20_000, `the message has ${outcome.message.length} characters`);
    assert(strict_reader.includes('reject'), `it was refused: ${outcome.message}`);
    return;
  }
  assert(strict_reader.includes('accept'), 'it was accepted');
  assert.equal(outcome.warnings.length > 0, strict_reader.includes('warning'), outcome.warnings.join());
  await contentOf(outcome.parameters);
}

/** Files of ONNX Runtime's LoRA parameters: read, made of their sources, written; hostile ones by their verdicts. */
export async function* onnxAdapterCases(root: string): AsyncGenerator<Listed> {
  const folder = join(root, 'formats');
  const index = JSON.parse(await readFile(join(folder, 'onnx_adapter', 'cases.json'), 'utf8')) as {
    valid: ValidRecord[];
    malformed: MalformedRecord[];
  };
  for (const record of index.valid)
    yield { name: basename(record.file), kind: 'valid', run: () => runValid(folder, record) };
  for (const record of index.malformed)
    yield { name: basename(record.file), kind: 'malformed', run: () => runMalformed(folder, record) };
}
