import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type OnnxCase, onnxModelCases } from '../../../scripts/goldens/formats-onnx.js';
import { expectClose, goldensPath, referenceBackend } from '../../testkit/src/index.js';
import {
  type Adapter,
  addOnnxSlots,
  attachOnnx,
  createGraph,
  createOps,
  denseTerm,
  f32,
  findOnnxSites,
  type Graph,
  lowRankTerm,
  openSafetensors,
  readModel,
  slotFeeds,
  slotNames,
  type Tensor,
  tensorRef,
} from '../src/index.js';

const numbers = (shape: readonly number[], step: number) =>
  tensorRef(
    f32(
      shape,
      Array.from({ length: shape.reduce((n, m) => n * m, 1) }, (_, i) => Math.sin(step * (i + 1))),
    ),
  );

/** y = Gemm(relu(x W0), W1ᵀ), with modules `fc0` and `fc1` named by their weights. */
function twoLayers(): Graph {
  const graph = createGraph('two');
  const ops = createOps(graph);
  const x = ops.input('x', 'f32', ['batch', 3]);
  const h = ops.relu(ops.gemm(x, ops.weight('fc0.weight', numbers([3, 4], 0.3))));
  ops.output(ops.gemm(h, ops.weight('fc1.weight', numbers([2, 4], 0.7)), undefined, { transB: true }), 'y');
  return graph;
}

const x = f32([2, 3], [1, -2, 3, 0.5, 4, -1]);

async function run(graph: Graph, feeds: Record<string, Tensor>): Promise<Tensor> {
  const program = await referenceBackend().compile(graph, { outputs: ['y'] });
  const { y } = await program.run(feeds);
  await program.dispose();
  return y!;
}

const fc1 = {
  shape: [2, 4],
  term: lowRankTerm({ a: numbers([2, 4], 1.1), b: numbers([2, 2], 1.7) }, { scale: 2 }),
};

const adapterOf = (params: Adapter['delta']['params'], shape: Adapter['delta']['shape']): Adapter => ({
  delta: { shape, params },
  replaced: new Map(),
  digest: '',
});

/** The same change as a low-rank term and in full, with a bias. */
const lowRankAdapter = adapterOf(new Map([['fc1.weight', [fc1.term]]]), new Map([['fc1.weight', fc1.shape]]));

describe('adapters on ONNX models', () => {
  it('finds modules by the names of weights, and the values around them', () => {
    const { sites, problems } = findOnnxSites(twoLayers());
    expect(problems).toEqual([]);
    expect(sites.map(({ module, in: inside, out }) => [module, inside, out])).toEqual([
      ['fc0', 3, 4],
      ['fc1', 4, 2],
    ]);
  });

  it('adds a branch; a second one adds to the first, and the model given stays as it was', async () => {
    const plain = twoLayers();
    const before = await run(plain, { x });
    const once = await attachOnnx(plain, lowRankAdapter);
    const twice = await attachOnnx(once, lowRankAdapter);
    const [y0, y1, y2] = [before, await run(once, { x }), await run(twice, { x })];
    expect(await run(plain, { x })).toEqual(before);
    const change = [...y1.data].map((v, i) => Number(v) - Number(y0.data[i]));
    expect(Math.max(...change.map(Math.abs))).toBeGreaterThan(0.1);
    const expected = f32(
      [2, 2],
      [...y0.data].map((v, i) => Number(v) + 2 * change[i]!),
    );
    expectClose('y', y2, expected, { relToMax: 1e-6 });
  });

  it('adds whole updates and biases as it adds factors', async () => {
    const { kind, tensors, meta } = fc1.term;
    const [a, b] = [await tensors.a!.read(), await tensors.b!.read()];
    const full = Array.from({ length: 8 }, (_, at) => {
      const [o, i] = [Math.floor(at / 4), at % 4];
      return 2 * [0, 1].reduce((sum, k) => sum + Number(b.data[2 * o + k]) * Number(a.data[4 * k + i]), 0);
    });
    expect([kind, meta.scale]).toEqual(['low-rank', 2]);
    const bias = [0.25, -4];
    const params = new Map([
      ['fc1.weight', [denseTerm(tensorRef(f32([2, 4], full)))]],
      ['fc1.bias', [denseTerm(tensorRef(f32([2], bias)))]],
    ]);
    const shape = new Map([
      ['fc1.weight', [2, 4]],
      ['fc1.bias', [2]],
    ]);
    const y = await run(await attachOnnx(twoLayers(), adapterOf(params, shape)), { x });
    const factored = await run(await attachOnnx(twoLayers(), lowRankAdapter), { x });
    const expected = f32(
      [2, 2],
      [...factored.data].map((v, i) => Number(v) + bias[i % 2]!),
    );
    expectClose('y', y, expected, { relToMax: 1e-6 });
  });

  it('refuses an adapter that has no place, and factors that no input takes', async () => {
    const strange = adapterOf(new Map([['fc7.weight', [fc1.term]]]), new Map([['fc7.weight', fc1.shape]]));
    await expect(attachOnnx(twoLayers(), strange)).rejects.toThrow(/"fc7.weight", for which there is no place/);
    const small = adapterOf(new Map([['fc0.weight', [fc1.term]]]), new Map([['fc0.weight', fc1.shape]]));
    await expect(attachOnnx(twoLayers(), small)).rejects.toThrow(/it is \[2,4\], the module takes \[4,3\]/);
    const { slots } = addOnnxSlots(twoLayers(), { targets: { targetModules: ['fc1'] } });
    await expect(slotFeeds(slots, new Map([['fc0.lora_A.weight', numbers([3, 1], 1)]]))).rejects.toThrow(
      /no input "fc0.lora_A.weight"/,
    );
  });

  it('refuses names that are taken, and rules that select nothing', () => {
    const graph = twoLayers();
    createOps(graph).input('fc1.lora_A', 'f32', [1]);
    expect(() => addOnnxSlots(graph, { names: slotNames.plain })).toThrow(/"fc1.lora_A" is taken/);
    expect(() => addOnnxSlots(graph, { targets: { targetModules: ['q_proj'] } })).toThrow(/It has: fc0, fc1/);
  });
});

const folder = goldensPath('formats', 'onnx');
const cases: OnnxCase[] = [];
if (folder)
  // The reference backend has no quantised products: those run with the goldens on ONNX Runtime.
  for await (const found of onnxModelCases(goldensPath()!, referenceBackend()))
    if (found.kind === 'adapted' && !/int8|quantized|q4/.test(found.name)) cases.push(found);

describe('reference models', () => {
  for (const { name, run: check } of cases) it(`with an adapter: ${name}`, check);

  it.skipIf(!folder)(
    'inputs for adapters give what the model exported with them gives (set PEFTJS_GOLDENS)',
    async () => {
      const plain = await readModel(join(folder!, 'ops', 'lora-plain-base.onnx'));
      const { graph, slots } = addOnnxSlots(plain, { names: slotNames.plain });
      expect(slots.map(({ module }) => module)).toEqual(['fc1', 'fc2']);
      for (const name of ['lora-required-inputs', 'lora-zero-rank', 'lora-one-module']) {
        const { tensors } = await openSafetensors(join(folder!, 'ops', `${name}.io.safetensors`));
        const given = await Promise.all([...tensors].map(async ([key, ref]) => [key, await ref.read()] as const));
        const feeds = Object.fromEntries(given.map(([key, value]) => [key.replace(/^input\//, ''), value]));
        const { 'output/y': wanted, ...inputs } = feeds;
        expectClose(name, await run(graph, inputs), wanted!, { relToMax: 1e-6 });
      }
    },
  );
});
