import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  addOnnxSlots,
  attachOnnx,
  type Backend,
  findOnnxSites,
  isPeftError,
  onnxParameters,
  readAdapter,
  slotFeeds,
  slotNames,
} from '@peftjs/core';
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
  /** Places where an adapter can be added. */
  readonly modules?: readonly ModuleRecord[];
  readonly tolerance: { readonly atol: number; readonly rtol: number };
}

interface ModuleRecord {
  readonly module: string;
  readonly node?: string;
  readonly x?: string;
  readonly y?: string;
  /** One name, or those of a quantised weight and its scales. */
  readonly weight: string | readonly string[];
  readonly in?: number;
  readonly out?: number;
  /** Of an embedding: its rows and their length. */
  readonly vocab?: number;
  readonly dim?: number;
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
      assertInjectable(result);
    }
  });
}

/** A model that was read is given inputs for adapters, or it is said why not. */
function assertInjectable(graph: Graph): void {
  try {
    const { slots, graph: ready } = addOnnxSlots(graph, { names: slotNames.plain });
    assert(slots.every(({ a, b }) => ready.inputs.includes(a) && ready.inputs.includes(b)));
    assert.equal(
      new Set(ready.inputs.map(({ name }) => name)).size,
      ready.inputs.length,
      'an input has its name twice',
    );
  } catch (error) {
    if (!isPeftError(error)) throw error;
    assert(['TARGETS_UNMATCHED', 'GRAPH_INVALID'].includes(error.code), `the code is ${error.code}`);
  }
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

interface InputsAndOutputs {
  readonly feeds: Record<string, Tensor>;
  readonly wanted: ReadonlyMap<string, Tensor>;
}

async function readIo(path: string, graph: Graph): Promise<InputsAndOutputs> {
  const feeds: Record<string, Tensor> = {};
  const wanted = new Map<string, Tensor>();
  for (const [key, ref] of (await openSafetensors(path)).tensors) {
    const [side, ...name] = key.split('/');
    if (side === 'output') wanted.set(name.join('/'), await ref.read());
    // The runtimes for JavaScript cannot override a default: it is left as it stands in the model.
    else if (!graph.weights.has(name.join('/'))) feeds[name.join('/')] = await ref.read();
  }
  return { feeds, wanted };
}

async function assertOutputs(
  graph: Graph,
  { feeds, wanted }: InputsAndOutputs,
  tolerance: ModelRecord['tolerance'],
  backend: Backend,
): Promise<void> {
  // Packed as the reference was: weight-only int8 is computed with int8 activations then.
  const program = await backend.compile(graph, { outputs: [...wanted.keys()], purpose: 'serve' });
  try {
    const outputs = await program.run(feeds);
    for (const [name, tensor] of wanted) assertClose(name, outputs[name]!, tensor, tolerance);
  } finally {
    await program.dispose();
  }
}

async function runModel(folder: string, record: ModelRecord, backend: Backend): Promise<void> {
  const graph = await readModel(join(folder, record.model));
  await withTemporary((temporary) => assertRoundTrip(graph, temporary));
  const io = record.io && (await readIo(join(folder, record.io), graph));
  if (io) await assertOutputs(graph, io, record.tolerance, backend);
  if (!record.modules) return;
  assertSites(graph, record.modules);
  if (!io) return;
  // Slots for everything, none of them used: the model as it was.
  const targets = { targetModules: record.modules.map(({ module }) => module) };
  const ready = addOnnxSlots(graph, { targets });
  const feeds = { ...io.feeds, ...(await slotFeeds(ready.slots)) };
  await assertOutputs(await rewritten(ready.graph), { ...io, feeds }, record.tolerance, backend);
}

/** A graph as it is after it was written and read. */
const rewritten = async (graph: Graph): Promise<Graph> => decodeModel(await encodeModel(graph));

/** Every place of the index is found, with its values, its weight and its extents. */
function assertSites(graph: Graph, modules: readonly ModuleRecord[]): void {
  const { sites, problems } = findOnnxSites(graph);
  assert.deepEqual(problems, []);
  for (const { module, weight, vocab, dim, ...given } of modules) {
    const site = sites.find((found) => found.module === module && (!given.x || found.x.name === given.x));
    assert(site, `"${module}" is not found; there are ${sites.map((found) => found.module).join(', ')}`);
    const found = { node: site.node, x: site.x.name, y: site.y.name, in: site.in, out: site.out };
    const wanted = { ...found, ...given, ...(vocab !== undefined && { in: vocab, out: dim! }) };
    assert.deepEqual(found, Object.fromEntries(Object.keys(found).map((key) => [key, Reflect.get(wanted, key)])));
    assert([weight].flat().includes(site.weight), `the weight of "${module}" is "${site.weight}"`);
  }
}

/** The adapter in the model as constants, and the same fed through inputs. */
async function runAdapted(folder: string, record: ModelRecord, backend: Backend): Promise<void> {
  const graph = await readModel(join(folder, record.model));
  const adapter = await readAdapter(join(folder, record.adapter!), { warn() {} });
  const io = await readIo(join(folder, record.io!), graph);
  await assertOutputs(await rewritten(await attachOnnx(graph, adapter)), io, record.tolerance, backend);
  const ready = addOnnxSlots(graph);
  const feeds = { ...io.feeds, ...(await slotFeeds(ready.slots, await onnxParameters(adapter))) };
  await assertOutputs(await rewritten(ready.graph), { ...io, feeds }, record.tolerance, backend);
}

/** Models of several exporters: read, written, read again, and run to the reference outputs. */
export async function* onnxModelCases(root: string, backend: Backend): AsyncGenerator<OnnxCase> {
  const folder = folderOf(root);
  for (const record of (await records(root)).models) {
    const name = record.io ?? record.model;
    if (record.adapter) yield { name, kind: 'adapted', run: () => runAdapted(folder, record, backend) };
    else yield { name, kind: 'model', run: () => runModel(folder, record, backend) };
  }
}
