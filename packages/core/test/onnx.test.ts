import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type OnnxCase, onnxMalformedCases } from '../../../scripts/goldens/formats-onnx.js';
import { goldensPath } from '../../testkit/src/shared.js';
import {
  cast,
  createGraph,
  createOps,
  decodeModel,
  encodeModel,
  type Graph,
  readModel,
  tensorRef,
  writeModel,
} from '../src/index.js';
import { f32 } from '../src/tensor/index.js';

const root = goldensPath('formats', 'onnx') && goldensPath();
const cases: OnnxCase[] = [];
if (root) for await (const golden of onnxMalformedCases(root)) cases.push(golden);

describe('malformed reference files', () => {
  it.skipIf(!root)('are all there (without them, set PEFTJS_GOLDENS)', () => expect(cases.length).toBeGreaterThan(50));
  for (const { name, run } of cases) it(name, run);
});

const weight = f32(
  [4, 3],
  Array.from({ length: 12 }, (_, i) => i / 4),
);

/** y = x Wᵀ + b over `rows` of past*2+length rows, with every plain kind of attribute on a node of a foreign domain. */
function example(stored: 'f32' | 'f16' = 'f32'): Graph {
  const graph = createGraph('example');
  graph.opset['example.org'] = 1;
  graph.metadata.author = 'somebody';
  const ops = createOps(graph);
  const x = ops.input('x', 'f32', ['past*2 + length', 3]);
  const y = ops.gemm(x, ops.weight('layer.weight', tensorRef(cast(weight, stored))), undefined, { transB: true });
  const [z] = ops.node(
    'Strange',
    [y, undefined, y],
    [{ dtype: 'f32', shape: y.shape }],
    {
      int: { type: 'int', value: -3 },
      float: { type: 'float', value: 0.5 },
      string: { type: 'string', value: 'für' },
      ints: { type: 'ints', value: [0, -1, 2 ** 52] },
      floats: { type: 'floats', value: [0.25, -1] },
      strings: { type: 'strings', value: ['', 'b'] },
      tensor: { type: 'tensor', value: f32([2], [1, 2]) },
    },
    'example.org',
  );
  ops.output(z!, 'y');
  return graph;
}

describe('writing and reading', () => {
  it('keeps nodes, attributes of every kind, symbolic extents, constants and metadata', async () => {
    const graph = example();
    const again = decodeModel(await encodeModel(graph, { shapes: true }));
    const { weights: _, macros: __, ...plain } = graph;
    expect(again).toMatchObject({ ...plain, values: expect.anything() });
    expect(new Map([...again.values].sort())).toEqual(new Map([...graph.values].sort()));
    expect(again.inputs[0]!.shape).toEqual(['length+2*past', 3]);
    expect((await again.weights.get('layer.weight')!.read()).data).toEqual(weight.data);
  });

  it('widens half-precision weights, which the graph sees in f32', async () => {
    const again = decodeModel(await encodeModel(example('f16')));
    expect(await again.weights.get('layer.weight')!.read()).toEqual(weight); // quarters are exact in f16
  });

  it('finds the types of inner values that a file leaves out', async () => {
    const graph = createGraph('types');
    const ops = createOps(graph);
    const ids = ops.input('ids', 'i64', ['n']);
    const mask = ops.less(ids, ops.scalar(2, 'i64'));
    ops.output(ops.cast(ops.where(mask, ids, ops.scalar(0, 'i64')), 'f32'), 'y');
    const again = decodeModel(await encodeModel(graph));
    for (const [name, { dtype }] of graph.values) expect([name, again.values.get(name)!.dtype]).toEqual([name, dtype]);
  });

  it('gives weights a place outside when it is told one', async () => {
    const bytes = await encodeModel(example(), { externalData: () => ({ location: 'w.bin', offset: 8, length: 48 }) });
    const asked: unknown[] = [];
    decodeModel(bytes, {
      external: (name, where, header) => {
        asked.push([name, where, header.shape]);
        return tensorRef(weight);
      },
    });
    expect(asked).toEqual([['layer.weight', { location: 'w.bin', offset: 8, length: 48 }, [4, 3]]]);
    expect(() => decodeModel(bytes)).toThrow(expect.objectContaining({ code: 'FILE_INVALID' }));
  });

  it('refuses what does not fit a message of 2 GB before reading a number', async () => {
    const graph = createGraph('big');
    const ops = createOps(graph);
    const read = async () => Promise.reject(new Error('the weight was read'));
    ops.output(ops.weight('w', { dtype: 'f32', shape: [2 ** 15, 2 ** 15], read }));
    await expect(encodeModel(graph)).rejects.toMatchObject({ code: 'GRAPH_INVALID', details: { bytes: 2 ** 32 } });
  });
});

describe('files', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'peftjs-onnx-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('points into the model file, so that its weights can be mapped', async () => {
    const path = join(folder, 'one.onnx');
    await writeModel(path, example());
    const ref = (await readModel(path)).weights.get('layer.weight')!;
    expect(ref.file).toMatchObject({ path, bytes: 48 });
    expect((await ref.read({ from: 1, to: 3 })).data).toEqual(weight.data.slice(3, 9));
    expect(await readdir(folder)).toEqual(['one.onnx']);
  });

  it('writes big weights beside the model, and can write a model over itself', async () => {
    const path = join(folder, 'two.onnx');
    await writeModel(path, example('f16'), { externalAbove: 0 });
    await writeModel(path, await readModel(path), { externalAbove: 0 });
    const ref = (await readModel(path)).weights.get('layer.weight')!;
    expect(ref.file).toEqual({ path: `${path}.data`, offset: 0, bytes: 48 });
    expect((await ref.read()).data).toEqual(weight.data);
  });

  it('follows links of a store that links whole models, and no others', async () => {
    const store = await mkdtemp(join(folder, 'store-'));
    const view = await mkdtemp(join(folder, 'view-'));
    await writeModel(join(store, 'm.onnx'), example(), { externalAbove: 0 });
    await symlink(join(store, 'm.onnx.data'), join(view, 'm.onnx.data'));
    await symlink(join(store, 'm.onnx'), join(view, 'm.onnx'));
    expect((await readModel(join(view, 'm.onnx'))).weights.size).toBe(1);
    await rm(join(view, 'm.onnx'));
    await writeModel(join(view, 'm.onnx'), example(), { externalAbove: 0 });
    await rm(join(view, 'm.onnx.data'));
    await symlink(join(store, 'm.onnx.data'), join(view, 'm.onnx.data'));
    await expect(readModel(join(view, 'm.onnx'))).rejects.toMatchObject({ code: 'FILE_INVALID' });
  });
});
