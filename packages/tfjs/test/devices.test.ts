import { createGraph, createOps, f32, type Graph, tensor } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { getBackend, setBackend } from '@tensorflow/tfjs-core';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type Device, tfjs } from '../src/index.js';

afterEach(() => {
  vi.doUnmock('@tensorflow/tfjs-backend-wasm');
  vi.doUnmock('@tensorflow/tfjs-backend-webgpu');
  vi.resetModules();
});

/** The package as it is where some packages are not installed. */
async function without(...missing: string[]) {
  vi.resetModules();
  for (const name of missing)
    vi.doMock(name, () => {
      throw Object.assign(new Error(`Cannot find package '${name}'`), { code: 'ERR_MODULE_NOT_FOUND' });
    });
  return (await import('../src/index.js')).tfjs;
}

function graphOf(build: (ops: ReturnType<typeof createOps>) => void): Graph {
  const graph = createGraph('graph');
  build(createOps(graph));
  return graph;
}

const doubled = () => graphOf((ops) => ops.output(ops.mul(ops.input('x', 'f32', ['n']), 2), 'y'));

describe('devices', () => {
  it('says how to install a native package that is missing', async () => {
    const backend = (await without())({ device: 'tfjs-node-gpu' });
    await expectPeftError(
      () => backend.compile(doubled()),
      ['BACKEND_UNAVAILABLE'],
      ['tfjs-node-gpu', 'npm install @tensorflow/tfjs-node-gpu'],
    );
  });

  it('says how to install WebGPU, and when this environment has none', async () => {
    const absent = (await without('@tensorflow/tfjs-backend-webgpu'))({ device: 'webgpu' });
    await expectPeftError(
      () => absent.compile(doubled()),
      ['BACKEND_UNAVAILABLE'],
      ['npm install @tensorflow/tfjs-backend-webgpu'],
    );
    const { navigator } = globalThis as { navigator?: object };
    if (navigator && 'gpu' in navigator) return;
    await expectPeftError(() => tfjs({ device: 'webgpu' }).compile(doubled()), ['BACKEND_UNAVAILABLE'], ['webgpu']);
  });

  it('takes the best that works by itself, plain JavaScript at the last', async () => {
    const backend = tfjs();
    expect(backend.device).toBe('auto');
    const { devices } = await backend.capabilities();
    expect(['tfjs-node-gpu', 'tfjs-node', 'webgpu', 'wasm']).toContain(backend.device);
    expect(devices).toContain(backend.device);
    const names = ['wasm', 'webgpu'].map((name) => `@tensorflow/tfjs-backend-${name}`);
    const least = (await without(...names))();
    const program = await least.compile(doubled());
    expect((await program.run({ x: f32([2], [1, 2]) })).y!.data).toEqual(Float32Array.of(2, 4));
    expect(['tfjs-node-gpu', 'tfjs-node', 'cpu']).toContain(least.device);
  });

  it('can be asked again once a package is there', async () => {
    const backend = (await without('@tensorflow/tfjs-backend-webgpu'))({ device: 'webgpu' });
    await expectPeftError(() => backend.capabilities(), ['BACKEND_UNAVAILABLE']);
    await expectPeftError(() => backend.capabilities(), ['BACKEND_UNAVAILABLE']);
  });

  it('refuses a device that does not exist', async () => {
    await expectPeftError(() => tfjs({ device: 'tpu' as Device }), ['CONFIG_INVALID'], ['tpu', 'wasm', 'auto']);
  });

  it('leaves the backend that the program itself uses as it was', async () => {
    await tfjs({ device: 'cpu' }).capabilities();
    await setBackend('cpu');
    const program = await tfjs({ device: 'wasm' }).compile(doubled());
    await program.run({ x: f32([1], [1]) });
    expect(getBackend()).toBe('cpu');
    await program.dispose();
  });
});

describe('what it cannot do', () => {
  const backend = tfjs({ device: 'cpu' });

  it('names every operation, variant and type at once', async () => {
    const graph = graphOf((ops) => {
      const x = ops.input('x', 'f32', ['n', 2]);
      const at = ops.input('at', 'i64', ['n', 2]);
      const wide = ops.cast(x, 'f64');
      const variant = { reduction: { type: 'string', value: 'mul' } } as const;
      const [product] = ops.node('ScatterElements', [x, at, x], [{ dtype: 'f32', shape: x.shape }], variant);
      const [loop] = ops.scope('layer.0', () => ops.node('Loop', [x], [{ dtype: 'f32', shape: x.shape }]));
      for (const value of [wide, product!, loop!]) ops.output(value);
    });
    const error = await expectPeftError(
      () => backend.compile(graph),
      ['BACKEND_UNSUPPORTED'],
      ['Loop', 'layer.0', 'Cast', 'is f64', 'ScatterElements', 'mul'],
    );
    expect(error.details.problems).toHaveLength(4);
  });

  it('refuses integers beyond 32 bits where it has to compute with them, and passes them on elsewhere', async () => {
    const build = (ops: ReturnType<typeof createOps>) => ops.input('ids', 'i64', ['n']);
    const compared = await backend.compile(graphOf((ops) => ops.output(ops.equal(build(ops), 1), 'y')));
    const ids = tensor('i64', [2], BigInt64Array.of(1n, 2n ** 31n));
    await expectPeftError(() => compared.run({ ids }), ['BACKEND_UNSUPPORTED'], ['"ids"', '2147483648', '32 bits']);
    const passed = await backend.compile(graphOf((ops) => ops.output(ops.add(build(ops), 1), 'y')));
    expect((await passed.run({ ids })).y!.data).toEqual(BigInt64Array.of(2n, 2n ** 31n + 1n));
    const huge = tensor('i64', [1], BigInt64Array.of(2n ** 60n));
    await expectPeftError(() => passed.run({ ids: huge }), ['BACKEND_UNSUPPORTED'], ['"ids"', String(2n ** 60n)]);
  });

  it('names the node, the index and the axis of an index outside', async () => {
    const graph = graphOf((ops) => {
      const table = ops.input('table', 'f32', [5, 2]);
      ops.output(
        ops.scope('model.embed', () => ops.gather(table, ops.input('ids', 'i64', ['n']))),
        'y',
      );
    });
    const program = await backend.compile(graph);
    const table = f32([5, 2], [...Array(10).keys()]);
    const ids = (...values: bigint[]) => tensor('i64', [values.length], BigInt64Array.from(values));
    await expectPeftError(
      () => program.run({ table, ids: ids(1n, 5n) }),
      ['GRAPH_INVALID'],
      ['model.embed', 'index 5', 'axis of 5'],
    );
    expect((await program.run({ table, ids: ids(-1n) })).y!.data).toEqual(Float32Array.of(8, 9));
  });
});
