import {
  type Adapter,
  applyDelta,
  compress,
  createRandom,
  type Delta,
  decompress,
  denseTerm,
  f32,
  packCompressed,
  type Tensor,
  type Term,
  tensorRef,
  toF32,
} from '@peftjs/core';
import { matrix } from '@peftjs/core/tensor';
import { expectClose, expectPeftError, referenceBackend, tinyModel, tinyParameters, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { bitdelta, type Calibration, calibrateScales, calibration, deltazip, obs, signs } from '../src/index.js';

const base = tinyParameters();
const model = tinyModel(base);
const backend = referenceBackend();
const weights = [...base.keys()].filter((path) => path.endsWith('.weight'));

/** A fine-tune that changes every matrix. */
const update = (size = 0.2): Delta => ({
  shape: new Map(weights.map((path) => [path, base.get(path)!.shape])),
  params: new Map(
    weights.map((path) => {
      const { shape } = base.get(path)!;
      return [path, [denseTerm(tensorRef(createRandom(3).fork(path).normal(shape, 0, size)))]] as const;
    }),
  ),
});

const adapterOf = (delta: Delta): Adapter => ({ delta, replaced: new Map(), digest: '' });

/** What enters a module for all rows of the tiny data: [rows, n]; and the logits. */
async function activations(delta: Delta, path: string, count = 12): Promise<Tensor> {
  const { graph, sites, outputs } = model.graph('predict');
  for (const [name, ref] of applyDelta(base, delta)) if (graph.weights.has(name)) graph.weights.set(name, ref);
  const value = path === 'logits' ? outputs.logits! : sites.get(path)!.x;
  graph.outputs.splice(0, 1, value);
  const program = await backend.compile(graph, { outputs: [value.name] });
  const examples = tinyRows(count).map(model.task.encode);
  const { feeds } = model.task.batch(examples, [...examples.keys()]);
  const { input_ids, features } = feeds;
  const out = await program.run({ input_ids: input_ids!, features: features! });
  await program.dispose();
  return out[value.name]!;
}

function secondMoments(x: Tensor): Float64Array {
  const [rows, n] = x.shape as readonly [number, number];
  const h = new Float64Array(n * n);
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) h[i * n + j]! += Number(x.data[r * n + i]) * Number(x.data[r * n + j]);
  return h;
}

const squaredDifference = (a: Tensor, b: Tensor): number =>
  Array.from(a.data as Float32Array, (x, i) => (x - Number(b.data[i])) ** 2).reduce((p, q) => p + q, 0) / a.data.length;

describe('obs', () => {
  it('loses less of the output than rounding to nearest, whatever the form', () => {
    const random = createRandom(11);
    const mix = random.fork('mix').normal([24, 24]).data as Float32Array;
    const x = random.fork('x').normal([200, 24]).data as Float32Array;
    const correlated = f32(
      [200, 24],
      Float32Array.from({ length: 200 * 24 }, (_, at) => {
        const [r, i] = [Math.floor(at / 24), at % 24];
        let sum = 0;
        for (let k = 0; k < 24; k++) sum += x[r * 24 + k]! * mix[k * 24 + i]!;
        return sum;
      }),
    );
    const h = secondMoments(correlated);
    const w = matrix(10, 24, random.fork('w').normal([10, 24]).data as Float32Array);
    const loss = (made: Float64Array): number => {
      let total = 0;
      for (let o = 0; o < 10; o++)
        for (let i = 0; i < 24; i++)
          for (let j = 0; j < 24; j++)
            total +=
              (w.data[o * 24 + i]! - made[o * 24 + i]!) * h[i * 24 + j]! * (w.data[o * 24 + j]! - made[o * 24 + j]!);
      return total;
    };
    for (const options of [
      { structured: true },
      { structured: true, bits: 4 },
      { structured: false, bits: 2 },
      { structured: false, bits: 3, groupSize: 8 },
    ] as const) {
      const nearest = loss(obs(w, undefined, { damping: 0.01, ...options }).delta);
      const made = obs(w, h, { damping: 0.01, ...options });
      expect(loss(made.delta), JSON.stringify(options)).toBeLessThan(nearest);
      if (made.pruned)
        for (let at = 0; at < 240; at += 4) expect(made.pruned.subarray(at, at + 4).reduce((a, b) => a + b)).toBe(2);
    }
  });

  it('does not change the weights it is given', () => {
    const w = matrix(1, 4, [1, 2, 3, 4]);
    const h = Float64Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0.1));
    obs(w, h, { structured: true, bits: 4, damping: 0.01 });
    expect([...w.data]).toEqual([1, 2, 3, 4]);
    expect(h[1]).toBe(0.1);
  });
});

describe('calibration of deltazip', () => {
  const rows = { data: tinyRows(), backend, batchSize: 5 };

  it('gives the second moments of what enters each layer', async () => {
    const found = await calibration(model, rows);
    const delta = update();
    const paths = ['model.layers.0.up.weight', 'model.layers.0.down.weight'];
    const moments = await found.moments(paths, delta, new Map([['dense', (await import('@peftjs/core')).dense]]));
    for (const path of paths) {
      const x = await activations(delta, path.slice(0, -'.weight'.length));
      const n = x.shape[1]!;
      // Sums of twelve products in single precision, in another order.
      expectClose(path, f32([n, n], moments.get(path)!), f32([n, n], secondMoments(x)), { relToMax: 1e-6 });
    }
    expect(found.groups(weights)).toEqual([
      ['model.layers.0.up.weight', 'model.layers.0.down.weight'],
      ['model.layers.1.mix.weight'],
      ['head.weight'],
    ]);
    expect(weights.filter(found.isTransposed)).toEqual(['model.layers.1.mix.weight']);
  });

  it('shows later layers what became of earlier ones', async () => {
    const inner = await calibration(model, rows);
    const seen: (readonly [readonly string[], Delta])[] = [];
    const spy: Calibration = {
      ...inner,
      moments: (paths, delta, kinds, signal) => {
        seen.push([paths, delta]);
        return inner.moments(paths, delta, kinds, signal);
      },
    };
    const delta = update();
    const { adapter } = await compress(deltazip({ structured: false, calibration: spy }), delta).result();
    expect(seen.map(([paths]) => paths)).toEqual(inner.groups(weights));
    const [, [, second], [, third]] = seen as [unknown, [unknown, Delta], [unknown, Delta]];
    const terms = (from: Delta, path: string): readonly Term[] => from.params.get(path)!;
    expect(terms(second, 'model.layers.0.up.weight')).toBe(terms(adapter.delta, 'model.layers.0.up.weight'));
    expect(terms(second, 'model.layers.1.mix.weight')).toBe(terms(delta, 'model.layers.1.mix.weight'));
    expect(terms(third, 'model.layers.1.mix.weight')).toBe(terms(adapter.delta, 'model.layers.1.mix.weight'));
    expect(terms(adapter.delta, 'model.layers.1.mix.weight')[0]!.meta.transposed).toBe(true);
  });

  it('brings the logits nearer than rounding to nearest', async () => {
    const delta = update(0.5);
    const exclude = ['embed', 'up', 'mix']; // six inputs do not divide into groups of four
    const exact = await activations(delta, 'logits');
    const loss = async (options: Parameters<typeof deltazip>[0]) => {
      const made = await compress(deltazip(options), delta).result();
      const plain = await decompress(made, { codecs: [deltazip] });
      return squaredDifference(await activations(plain.delta, 'logits'), exact);
    };
    const found = await calibration(model, rows);
    for (const options of [{ exclude }, { bits: 2 as const, structured: false, exclude: ['embed'] }]) {
      const [with_, without] = [await loss({ ...options, calibration: found }), await loss(options)];
      expect(with_, JSON.stringify(options)).toBeLessThan(without);
    }
  });

  it('needs rows', () =>
    expectPeftError(() => calibration(model, { data: [], backend }), ['DATA_INVALID'], ['no rows']));
});

describe('calibration of bitdelta', () => {
  it.each([{}, { scale: 'row' }, { bits: 2 }] as const)('brings the logits nearer with %j', async (options) => {
    const delta = update();
    const compressed = await compress(bitdelta(options), delta).result();
    const run = calibrateScales(
      model,
      { exact: adapterOf(delta), compressed: compressed.adapter },
      { data: tinyRows(), backend, steps: 60, batchSize: 6, lr: 5e-3 },
    );
    const losses: number[] = [];
    for await (const { loss } of run) losses.push(loss);
    const calibrated = await run.result();
    expect(losses).toHaveLength(60);

    const exact = await activations(delta, 'logits');
    const distance = async (adapter: Adapter) => {
      const { pieces: _, ...file } = await packCompressed(bitdelta.codec, adapter);
      const plain = await decompress(file, { codecs: [bitdelta] });
      return squaredDifference(await activations(plain.delta, 'logits'), exact);
    };
    const [before, after] = [await distance(compressed.adapter), await distance(calibrated)];
    expect(after).toBeLessThan(0.7 * before);
    expect(calibrated.digest).not.toBe(compressed.adapter.digest);
    // Signs stay, scales keep their form.
    for (const [path, terms] of calibrated.delta.params)
      for (const [i, { tensors }] of terms.entries()) {
        const own = compressed.adapter.delta.params.get(path)![i]!.tensors;
        expect(tensors.mask).toBe(own.mask);
        expect(tensors.scale?.shape).toEqual(own.scale?.shape);
      }
  });

  it('starts at the loss of the compressed update', async () => {
    const delta = update();
    const { adapter } = await compress(bitdelta(), delta).result();
    const [first] = await (async () => {
      const losses: number[] = [];
      const run = calibrateScales(
        model,
        { exact: adapterOf(delta), compressed: adapter },
        { data: tinyRows(), backend, steps: 1, batchSize: 12 },
      );
      for await (const { loss } of run) losses.push(loss);
      return losses;
    })();
    const plain: Delta = {
      shape: adapter.delta.shape,
      params: new Map(
        await Promise.all(
          [...adapter.delta.params].map(
            async ([path, terms]) =>
              [path, [denseTerm(tensorRef(await signs.dense(terms[0]!, base.get(path)!.shape)))]] as const,
          ),
        ),
      ),
    };
    const expected = squaredDifference(await activations(plain, 'logits'), await activations(delta, 'logits'));
    expect(Math.abs(first! - expected) / expected).toBeLessThan(1e-5);
    expect(toF32(await adapter.delta.params.get(weights[0]!)![0]!.tensors.scale!.read()).data).toHaveLength(1);
  });

  it('refuses an update without signs', () => {
    const delta = update();
    const run = calibrateScales(
      model,
      { exact: adapterOf(delta), compressed: adapterOf(delta) },
      { data: tinyRows(), backend },
    );
    return expectPeftError(() => run.result(), ['CONFIG_INVALID'], ['no signs']);
  });

  it('stops when it is cancelled', async () => {
    const delta = update();
    const { adapter } = await compress(bitdelta(), delta).result();
    const run = calibrateScales(model, { exact: adapterOf(delta), compressed: adapter }, { data: tinyRows(), backend });
    run.cancel();
    await expectPeftError(() => run.result(), ['CANCELLED']);
  });
});
