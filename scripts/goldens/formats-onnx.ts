import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type Backend, isPeftError } from '@peftjs/core';
import { openSafetensors } from '@peftjs/core/files';
import { decodeModel, encodeModel, type Graph, readModel, writeModel } from '@peftjs/core/graph';
import { bytesOf, cast, type Tensor } from '@peftjs/core/tensor';

/** A reference case as a test or a runner calls it: `run` throws when the library disagrees with the reference. */
export interface OnnxCase {
  readonly name: string;
  readonly kind: string;
  run(): Promise<void>;
}

interface ModelRecord {
  readonly model: string;
  /** Absent: the model is only read and written. */
  readonly io?: string;
  readonly adapter?: string;
  readonly tolerance: { readonly atol: number; readonly rtol: number };
}

interface MalformedRecord {
  readonly dir: string;
  readonly strict_reader: string;
}

interface Records {
  readonly models: readonly ModelRecord[];
  readonly malformed: readonly MalformedRecord[];
}

const folderOf = (root: string): string => join(root, 'formats', 'onnx');
const records = async (root: string): Promise<Records> =>
  JSON.parse(await readFile(join(folderOf(root), 'cases.json'), 'utf8')) as Records;

async function withTemporary(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-onnx-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A copy deep in a temporary folder, with its links made and files outside that a careless reader would find. */
async function lay(source: string, temporary: string): Promise<string> {
  const copy = join(temporary, '1', '2', '3', 'case');
  await cp(source, copy, { recursive: true });
  for (const name of await readdir(copy)) {
    if (!name.endsWith('.symlink')) continue;
    await symlink(await readFile(join(copy, name), 'utf8'), join(copy, name.slice(0, -'.symlink'.length)));
  }
  const secret = new Uint8Array(4096);
  await writeFile(join(temporary, 'outside-secret.bin'), secret);
  await writeFile(join(temporary, '1', '2', '3', 'secret.bin'), secret);
  return copy;
}

/** Everything a graph holds, comparable: weights as digests of their bytes would be, tensors in full. */
async function contentOf(graph: Graph): Promise<unknown> {
  const weights: unknown[] = [];
  for (const [name, ref] of graph.weights)
    weights.push([name, ref.dtype, ref.shape, Buffer.from(bytesOf(await ref.read()))]);
  const { inputs, outputs, nodes, constants, values, opset, metadata } = graph;
  const typed = [...values].sort(([a], [b]) => (a < b ? -1 : 1));
  return { inputs, outputs, nodes, constants: [...constants], typed, opset, metadata, weights };
}

/** Writing what was read and reading that again gives the same graph, in one file and with the weights beside it. */
async function assertRoundTrip(graph: Graph, temporary: string): Promise<void> {
  const content = await contentOf(graph);
  assert.deepEqual(await contentOf(decodeModel(await encodeModel(graph, { shapes: true }))), content);
  const path = join(temporary, 'written', 'model.onnx');
  await mkdir(join(temporary, 'written'));
  await writeModel(path, graph, { externalAbove: 0 });
  assert.deepEqual(await contentOf(await readModel(path)), content);
}

async function runMalformed(source: string, verdict: string): Promise<void> {
  await withTemporary(async (temporary) => {
    const folder = await lay(source, temporary);
    const result = await readModel(join(folder, 'model.onnx')).catch((error: unknown) => error as Error);
    if (result instanceof Error) {
      assert(isPeftError(result), `it failed with an error that is not typed: ${result.stack}`);
      assert(['FILE_INVALID', 'MODEL_UNSUPPORTED'].includes(result.code), `the code is ${result.code}`);
      assert(verdict.includes('reject') || verdict.includes('limit'), `it was refused: ${result.message}`);
    } else {
      assert(!/^reject(-or-refuse-to-follow)?$/.test(verdict), 'it was read');
      await assertRoundTrip(result, temporary);
    }
  });
}

/** Hostile and broken files: refused with a typed error, or, where the verdict leaves the choice, read consistently. */
export async function* onnxMalformedCases(root: string): AsyncGenerator<OnnxCase> {
  for (const { dir, strict_reader } of (await records(root)).malformed)
    yield { name: basename(dir), kind: 'malformed', run: () => runMalformed(join(folderOf(root), dir), strict_reader) };
}

function assertClose(name: string, got: Tensor, wanted: Tensor, { atol, rtol }: ModelRecord['tolerance']): void {
  assert.deepEqual(got.shape, wanted.shape, `the shape of ${name}`);
  const [a, b] = [cast(got, 'f64').data as Float64Array, cast(wanted, 'f64').data as Float64Array];
  const excess = a.map((value, i) => Math.abs(value - b[i]!) - atol - rtol * Math.abs(b[i]!));
  const worst = excess.reduce((at, value, i) => (value > excess[at]! ? i : at), 0);
  assert(!(excess[worst]! > 0), `${name}[${worst}] is ${a[worst]}, not ${b[worst]} within ${atol} + ${rtol} of it`);
}

async function runModel(folder: string, record: ModelRecord, backend: Backend): Promise<void> {
  const graph = await readModel(join(folder, record.model));
  await withTemporary((temporary) => assertRoundTrip(graph, temporary));
  if (!record.io) return;
  const feeds: Record<string, Tensor> = {};
  const wanted = new Map<string, Tensor>();
  for (const [path, ref] of (await openSafetensors(join(folder, record.io))).tensors) {
    const [side, ...name] = path.split('/');
    if (side === 'output') wanted.set(name.join('/'), await ref.read());
    // The runtimes for JavaScript cannot override a default: it is left as it stands in the model.
    else if (!graph.weights.has(name.join('/'))) feeds[name.join('/')] = await ref.read();
  }
  // Packed as the reference was: weight-only int8 is computed with int8 activations then.
  const program = await backend.compile(graph, { outputs: [...wanted.keys()], purpose: 'serve' });
  try {
    const outputs = await program.run(feeds);
    for (const [name, tensor] of wanted) assertClose(name, outputs[name]!, tensor, record.tolerance);
  } finally {
    await program.dispose();
  }
}

/** Models of several exporters: read, written, read again, and run to the reference outputs. */
export async function* onnxModelCases(root: string, backend: Backend): AsyncGenerator<OnnxCase> {
  for (const record of (await records(root)).models)
    if (!record.adapter)
      yield { name: record.io ?? record.model, kind: 'model', run: () => runModel(folderOf(root), record, backend) };
}
