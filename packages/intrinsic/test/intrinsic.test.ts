import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  type Bound,
  baseLook,
  bindMethod,
  createRandom,
  evaluate,
  expandAll,
  f32,
  isPeftError,
  lettersOf,
  readAdapter,
  resumeTensors,
  type Start,
  scale,
  settlePlan,
  startTensors,
  type Tensor,
  type Term,
  tensorRef,
  toAdapter,
  train,
  withKinds,
  writeAdapter,
} from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import plugin, { intrinsic, materialize, subspace } from '../src/index.js';
import { heldSigns, project, pullBack, seededSigns, signWords } from '../src/math.js';
import { seedOf } from '../src/source.js';

describe('intrinsic', () => {
  const laws = { kinds: [subspace], training: { lr: 0.2 } };
  testMethod(intrinsic, { ...laws, config: { dimension: 10 } });
  testMethod(intrinsic, { ...laws, config: { dimension: 10, cache: 0, targetModules: ['up', 'mix'] } });
  testMethod(intrinsic, { ...laws, config: { dimension: 40, structureAware: true, targetModules: ['up', 'mix'] } });

  it('has signs for entries, the same at every call, and columns that are nearly orthogonal', () => {
    const n = 5000;
    const unit = (j: number) => Float32Array.from({ length: 70 }, (_, i) => (i === j ? 1 : 0));
    const signs = (seed: bigint) => seededSigns(seed, { numbers: n, dimension: 70 });
    const [a, b] = [project(signs(7n), unit(3)), project(signs(7n), unit(69))];
    expect(new Set(a)).toEqual(new Set([1, -1]));
    expect(project(signs(7n), unit(3))).toEqual(a);
    expect(project(signs(8n), unit(3))).not.toEqual(a);
    // Five standard deviations of the mean of n signs.
    expect(Math.abs(a.reduce((sum, x, i) => sum + x * b[i]!, 0)) / n).toBeLessThan(5 / Math.sqrt(n));
  });

  it('pulls back by the transpose: ⟨P d, g⟩ = ⟨d, Pᵀ g⟩', () => {
    const wave = (n: number, f: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(f * i + 1));
    const [d, g] = [wave(37, 0.7), wave(5000, 0.3)];
    const signs = seededSigns(3n, { numbers: g.length, dimension: d.length });
    const left = project(signs, d).reduce((sum, x, i) => sum + x * g[i]!, 0);
    const right = pullBack(signs, g).reduce((sum, x, i) => sum + x * d[i]!, 0);
    expect(right).toBeCloseTo(left, 8);
  });

  it('reads bit j mod 32 of word ⌊j / 32⌋ of a number as its sign in column j', () => {
    const extents = { numbers: 3, dimension: 37 };
    const words = Uint32Array.of(5, 1, 2 ** 31, 0, 2 ** 32 - 1, 16);
    const signs = heldSigns(words, extents);
    const sign = (i: number, j: number) => ((words[2 * i + (j >>> 5)]! >>> (j & 31)) & 1 ? 1 : -1);
    const d = Float32Array.from({ length: 37 }, (_, j) => j + 1);
    const g = Float32Array.of(1, 10, 100);
    expect([...project(signs, d)]).toEqual([0, 1, 2].map((i) => d.reduce((sum, x, j) => sum + sign(i, j) * x, 0)));
    expect([...pullBack(signs, g)]).toEqual([...d].map((_, j) => g.reduce((sum, x, i) => sum + sign(i, j) * x, 0)));
  });

  it('gives the same from signs in memory as from the seed', () => {
    const extents = { numbers: 5000, dimension: 70 };
    const held = heldSigns(signWords(9n, extents), extents);
    const d = Float32Array.from({ length: 70 }, (_, j) => Math.sin(j));
    expect(project(held, d)).toEqual(project(seededSigns(9n, extents), d));
  });

  it('keeps the signs of the first targets that fit in the cache', async () => {
    const model = tinyModel();
    // Each has 48 numbers with a word of signs each.
    const plan = bindMethod(intrinsic({ dimension: 4, cache: 300 / 2 ** 20, targetModules: ['up', 'down'] }), model);
    const settled = await settlePlan(plan, baseLook({ plan, parameters: model.parameters, seed: 0 }));
    const start = await startTensors(settled, { seed: 0, parameters: model.parameters });
    const held = [...start.frozen.keys()].filter((name) => name.endsWith(':signs'));
    expect(held).toEqual(['model.layers.0.up:signs']);
  });

  it('refuses a dimension that is none, or more than there is', async () => {
    expect(() => intrinsic({ dimension: 0 })).toThrow(/dimension/);
    const model = tinyModel();
    const plan = bindMethod(intrinsic({ dimension: 49, targetModules: ['up'] }), model);
    await expect(startTensors(plan, { seed: 0, parameters: model.parameters })).rejects.toThrow(/have 48 numbers/);
  });
});

const kinds = withKinds(subspace);
const up = 'model.layers.0.up';
const floats = (tensor: Tensor) => tensor.data as Float32Array;

type Options = Parameters<typeof intrinsic>[0];

async function planned(more: Options = {}, start?: Adapter) {
  const { parameters, targets } = tinyModel();
  const bound = intrinsic({ dimension: 40, targetModules: ['up', 'mix'], ...more }) as unknown as Bound;
  const plan = bindMethod(bound, { parameters, targets });
  return settlePlan(plan, baseLook({ plan, parameters, seed: 3, ...(start && { start }) }));
}

/** An adapter with random numbers, and what it was made of. */
async function saved(more: Options = {}) {
  const { parameters } = tinyModel();
  const plan = await planned(more);
  const start = await startTensors(plan, { seed: 3, parameters });
  const numbers = [...start.train].map(
    ([name, { shape }]) => [name, createRandom(1).fork(name).normal(shape)] as const,
  );
  const tensors: Start = { ...start, train: new Map(numbers) };
  return { plan, tensors, adapter: await toAdapter(plan, tensors, { parameters }) };
}

async function goOn(adapter: Adapter, more: Options = {}) {
  const plan = await planned(more, adapter);
  return { plan, tensors: await resumeTensors(plan, adapter, { seed: 99, parameters: tinyModel().parameters }) };
}

const termOf = ({ delta }: Adapter, path = up) => delta.params.get(`${path}.weight`)![0]!;
const shapeOf = ({ delta }: Adapter, path = up) => delta.shape.get(`${path}.weight`)!;
const withMeta = (term: Term, meta: object): Term => ({ ...term, meta: { ...term.meta, ...meta } });

function withTerm(adapter: Adapter, path: string, change: (term: Term) => Term): Adapter {
  const params = new Map(adapter.delta.params).set(`${path}.weight`, [change(termOf(adapter, path))]);
  return { ...adapter, delta: { ...adapter.delta, params } };
}

/** ΔW of every target by its path, as it is in training. */
const changesOf = ({ plan, tensors }: Awaited<ReturnType<typeof saved>>) =>
  new Map([...expandAll(plan, tensors)].map(([name, tensor]) => [name.slice(0, name.indexOf(':')), tensor]));

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-intrinsic-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('the file', () => {
  it('takes a few kilobytes and changes nothing', () =>
    inFolder(async (folder) => {
      const { adapter } = await saved();
      const model = tinyModel();
      await writeAdapter(folder, adapter, { kinds });
      const files = await readdir(folder);
      const sizes = await Promise.all(files.map(async (name) => (await stat(join(folder, name))).size));
      expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(5000);
      const again = await readAdapter(folder, { kinds, base: model });
      expect(again.digest).toBe(adapter.digest);
      const measured = (of: Adapter) =>
        evaluate(model, { adapter: of, kinds, data: tinyRows(), backend: referenceBackend() });
      expect(await measured(again)).toEqual(await measured(adapter));
    }));

  it.each([{}, { cache: 0 }, { structureAware: true }])(
    'gives the change of the training, bit for bit: %j',
    async (more) => {
      const made = await saved(more);
      const changes = changesOf(made);
      expect(changes.size).toBe(made.plan.sites.length);
      for (const [path, change] of changes)
        expect(await subspace.dense(termOf(made.adapter, path), shapeOf(made.adapter, path))).toEqual(change);
    },
  );

  it('says what makes its signs, which stay as they are', async () => {
    expect(termOf((await saved()).adapter).meta).toEqual({
      algorithm: 'philox4x32-10/1',
      version: 1,
      seed: '1427008420382442459',
      fingerprint: '8x6 2bfa6658f9b88978bf1ca0f07aa0d54de88419a3a7cc7c2cef9cbb4d505d111d',
      scale: Math.fround(1 / Math.sqrt(48 + 48)),
    });
  });

  it('needs the package that defines the kind', () =>
    inFolder(async (folder) => {
      await writeAdapter(folder, (await saved()).adapter, { kinds });
      await expect(readAdapter(folder)).rejects.toMatchObject({ code: 'CONFIG_UNSUPPORTED' });
      expect(plugin.kinds).toEqual([subspace]);
    }));

  it('is refused on reading when its seed was changed', () =>
    inFolder(async (folder) => {
      await writeAdapter(folder, (await saved()).adapter, { kinds });
      const path = join(folder, 'adapter_config.json');
      await writeFile(path, (await readFile(path, 'utf8')).replace(/"seed": "\d+"/, '"seed": "7"'));
      await expect(readAdapter(folder, { kinds })).rejects.toMatchObject({
        code: 'ADAPTER_INVALID',
        message: expect.stringContaining('belongs to another shape or another generator'),
      });
    }));

  it.each([
    [{ seed: undefined }, 'it has no seed'],
    [{ seed: '18446744073709551616' }, 'its seed 18446744073709551616'],
    [{ algorithm: 'mt19937' }, 'its signs are of mt19937'],
    [{ version: 2 }, 'version 2'],
    [{ fingerprint: '00' }, 'of the fingerprint'],
    [{ fingerprint: undefined }, 'it has no fingerprint'],
    [{ scale: Number.NaN }, 'its scale is NaN'],
  ])('is refused with %j', async (meta, why) => {
    const { adapter } = await saved();
    try {
      await subspace.dense(withMeta(termOf(adapter), meta), shapeOf(adapter));
      expect.unreachable();
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('ADAPTER_INVALID');
      expect((error as Error).message).toContain(why);
    }
  });

  it('is refused for another shape, were it only turned', async () => {
    const { adapter } = await saved();
    const [out, inside] = shapeOf(adapter) as [number, number];
    for (const shape of [[out, inside + 4], [inside, out], [out * inside]])
      expect(await subspace.check!(termOf(adapter), shape)).toHaveLength(1);
  });

  it('is scaled exactly', async () => {
    const { adapter } = await saved();
    const half = subspace.scale(termOf(adapter), 0.5);
    const [all, part] = await Promise.all(
      [termOf(adapter), half].map((term) => subspace.dense(term, shapeOf(adapter))),
    );
    expect(floats(part!)).toEqual(floats(all!).map((x) => 0.5 * x));
    expect(subspace.scale(half, 2)).toEqual(termOf(adapter));
  });

  it('becomes dense changes where it is asked for', () =>
    inFolder(async (folder) => {
      const { adapter } = await saved({ structureAware: true });
      const plain = await materialize(adapter);
      await writeAdapter(folder, plain);
      const read = await readAdapter(folder, { base: tinyModel() });
      expect(read.digest).toBe(plain.digest);
      for (const [path, shape] of read.delta.shape) {
        const [{ kind, tensors }] = read.delta.params.get(path) as [Term];
        expect(kind).toBe('dense');
        expect(await tensors.delta!.read()).toEqual(await subspace.dense(adapter.delta.params.get(path)![0]!, shape));
      }
    }));
});

describe('training on', () => {
  it.each([{}, { structureAware: true }])('takes the seeds and the numbers of the adapter: %j', async (more) => {
    const { adapter, tensors } = await saved(more);
    const again = await goOn(adapter, more);
    expect(again.tensors).toEqual(tensors);
    expect(seedOf(again.tensors.frozen.get(`${up}:seed`)!)).toBe(BigInt(String(termOf(adapter).meta.seed)));
  });

  it('makes the signs of the saved seed once', async () => {
    const { adapter } = await saved();
    const plan = await planned({}, adapter);
    const { frozen, train } = await startTensors(plan, { seed: 99, parameters: tinyModel().parameters });
    const { target, c } = plan.sites.find((site) => site.target.path === up)!;
    const fresh = lettersOf(up, [...frozen, ...train]);
    const again = await intrinsic.method.fromDelta!({
      terms: { weight: termOf(adapter) },
      target,
      c: c as never,
      fresh,
    });
    expect(Object.keys(again)).toEqual(['d']);
  });

  it('goes on from a scaled adapter where targets have scales of their own', async () => {
    const { adapter } = await saved();
    const third = scale(adapter, 1 / 3, kinds);
    await expect(goOn(third)).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringContaining('set structureAware, which goes on from any scale'),
    });
    const { tensors } = await goOn(third, { structureAware: true });
    expect(floats(tensors.train.get(`${up}:lambda`)!)).toEqual(Float32Array.of(1 / 3));
  });

  it('refuses another vector and another dimension, naming all targets', async () => {
    const { adapter } = await saved();
    const other = tensorRef(f32([40], new Float32Array(40)));
    const mixed = withTerm(adapter, 'model.layers.1.mix', (term) => ({ ...term, tensors: { d: other } }));
    await expect(goOn(mixed)).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringContaining(`"model.layers.1.mix" has another vector than "${up}"`),
    });
    await expect(goOn(adapter, { dimension: 41 })).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      details: {
        problems: [up, 'model.layers.1.mix'].map((path) =>
          expect.stringContaining(`"${path}" was trained with dimension 40, here it is 41`),
        ),
      },
    });
  });

  it('refuses dense changes, which do not say where in the subspace they are', async () => {
    const plain = await materialize((await saved()).adapter);
    const method = intrinsic({ dimension: 40, targetModules: ['up', 'mix'] }) as unknown as Bound;
    const options = { method, data: tinyRows(), backend: referenceBackend(), lr: 0.1, steps: 1 };
    await expect(train(tinyModel(), { ...options, start: plain }).result()).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
    });
  });
});
