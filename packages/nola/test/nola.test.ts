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
  f32,
  isPeftError,
  lettersOf,
  lowRank,
  readAdapter,
  resumeTensors,
  type Start,
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
import { expectClose, referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type Bases, heldBases, materialized, seededBases } from '../src/bases.js';
import { load, save } from '../src/coefficients.js';
import plugin, { materialize, NolaConfig, nola, seededLowRank } from '../src/index.js';
import { combine, project } from '../src/math.js';
import { basesOf, bytesOfBases, seedOf, startOf } from '../src/source.js';

const kinds = withKinds(seededLowRank);

describe('nola', () => {
  const own = { kinds: [seededLowRank] };
  testMethod(nola, { ...own, config: { bases: 12, alpha: 16 } });
  testMethod(nola, { ...own, config: { r: 3, alpha: 6, bases: 8, variant: 'paper', cache: 0 } });
  testMethod(nola, {
    ...own,
    config: { r: 4, alpha: 8, bases: 10, variant: 'vit', dropout: 0.1 },
    startsChanged: true,
  });
});

const floats = (tensor: Tensor): Float32Array => tensor.data as Float32Array;
const random = createRandom(11);

/** The same matrices, read in parts of other lengths. */
const inParts = (bases: Bases, length: number): Bases => ({
  ...bases,
  fill(basis, from, out) {
    for (let at = 0; at < out.length; at += length) bases.fill(basis, from + at, out.subarray(at, at + length));
  },
});

describe('bases', () => {
  const extents = { count: 5, size: 4099, bound: 0.3 }; // no multiple of a block of four words
  const seeded = seededBases(random.fork('bases'), extents);
  const whole = random.fork('bases').uniform([5, 4099], -0.3, 0.3);

  it('are the tensor that the stream gives at once, whatever the parts', () => {
    expect(floats(materialized(seeded))).toEqual(floats(whole));
    for (const length of [1, 7, 1024]) expect(floats(materialized(inParts(seeded, length)))).toEqual(floats(whole));
    const middle = new Float32Array(6);
    seeded.fill(3, 2001, middle);
    expect(middle).toEqual(floats(whole).slice(3 * 4099 + 2001, 3 * 4099 + 2007));
  });

  it('sums and slopes are the same bits from memory and from the seed', () => {
    const coefficients = floats(random.fork('c').normal([5]));
    const start = floats(random.fork('start').normal([4099]));
    const d = floats(random.fork('d').normal([4099]));
    const held = heldBases(whole);
    expect(combine(seeded, coefficients, start)).toEqual(combine(held, coefficients, start));
    expect(project(inParts(seeded, 100), d)).toEqual(project(held, d));
    const at = (e: number) => coefficients.reduce((sum, c, i) => sum + c * floats(whole)[i * 4099 + e]!, start[e]!);
    for (const e of [0, 4095, 4096, 4098]) expect(combine(held, coefficients, start)[e]).toBe(Math.fround(at(e)));
  });

  it('slopes are those of the sum: ⟨d, A(α)⟩ is linear in α', () => {
    const d = floats(random.fork('d').normal([4099]));
    const coefficients = floats(random.fork('c').normal([5]));
    const inner = combine(seeded, coefficients).reduce((sum, x, e) => sum + x * d[e]!, 0);
    const slopes = project(seeded, d).reduce((sum, slope, i) => sum + slope * coefficients[i]!, 0);
    expect(Math.abs(inner - slopes)).toBeLessThan(1e-4 * Math.abs(inner) + 1e-4); // 4099 values rounded to float32
  });

  it('have the bounds of their variant, and every module its own', () => {
    const largest = (bases: Bases) => floats(materialized(bases)).reduce((max, x) => Math.max(max, Math.abs(x)), 0);
    const at = { in: 64, out: 32 };
    const near = (got: number, bound: number) => {
      expect(got).toBeLessThanOrEqual(Math.fround(bound));
      expect(got).toBeGreaterThan(0.98 * bound);
    };
    const language = basesOf(1n, NolaConfig.parse({ r: 4, bases: 25 }), at);
    near(largest(language.a), 1 / 5);
    near(largest(language.b), 1 / 5);
    const vit = basesOf(1n, NolaConfig.parse({ r: 4, bases: 25, variant: 'vit' }), at);
    near(largest(vit.a), 1 / 8);
    near(largest(vit.b), 1 / 2);
    expect(floats(materialized(basesOf(2n, NolaConfig.parse({ r: 4, bases: 25 }), at).a))).not.toEqual(
      floats(materialized(language.a)),
    );
    expect(startOf(1n, NolaConfig.parse({ variant: 'vit' }), at)).toBeUndefined();
  });
});

describe('coefficients', () => {
  it.each([Number.NaN, Number.POSITIVE_INFINITY])('coefficients of %s are not rounded', (x) => {
    expect(() => save(f32([2], [1, x]), 8)).toThrow(`a coefficient is ${x}`);
  });

  it('are rounded to the nearest step of the largest, halves to even', async () => {
    const eight = save(f32([5], [127 / 128, -63.5 / 128, 2.5 / 128, 0, -127 / 128]), 8);
    expect(eight.step).toBe(1 / 128);
    expect([...((await eight.tensor.read()).data as Int8Array)]).toEqual([127, -64, 2, 0, -127]);
    const four = save(f32([5], [7 / 8, -3.5 / 8, 0.7 / 8, 0, -7 / 8]), 4);
    expect([four.tensor.dtype, four.tensor.shape, four.step]).toEqual(['u8', [3], 1 / 8]);
    expect([...(await load(four, 5, 4))]).toEqual([7 / 8, -4 / 8, 1 / 8, 0, -7 / 8]);
  });

  it.each([8, 4] as const)('come back within half a step of %i bits', async (bits) => {
    const many = random.fork('many').normal([301]);
    const saved = save(many, bits);
    const back = await load(saved, 301, bits);
    floats(many).forEach((x, i) => {
      expect(Math.abs(back[i]! - x)).toBeLessThanOrEqual(saved.step * 0.5000001);
    });
    expect([...(await load(save(f32([3], [0, 0, 0]), bits), 3, bits))]).toEqual([0, 0, 0]);
  });
});

const options = { r: 4, bases: 16, alpha: 8, targetModules: ['up', 'down', 'mix'] };

async function laidOut(more: object = {}) {
  const model = tinyModel();
  const plan = bindMethod(nola({ ...options, ...more }) as unknown as Bound, model);
  const start = await startTensors(plan, { seed: 3, parameters: model.parameters });
  const trained = new Map([...start.train].map(([name, { shape }]) => [name, random.fork(name).normal(shape)]));
  const tensors: Start = { ...start, train: trained };
  return { model, plan, start, adapter: await toAdapter(plan, tensors, { parameters: model.parameters }) };
}

const termOf = (adapter: Adapter) => adapter.delta.params.get('model.layers.0.up.weight')![0]!;
const shapeOf = (adapter: Adapter) => adapter.delta.shape.get('model.layers.0.up.weight')!;
const changed = (term: Term, meta: object): Term => ({ ...term, meta: { ...term.meta, ...meta } });

async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-nola-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('configuration', () => {
  it("has the authors' numbers for GPT-2 as defaults", () => {
    expect(nola().config).toMatchObject({ r: 8, alpha: 2, bases: 256, variant: 'language', bits: 32, cache: 256 });
  });

  it.each([
    [{ bases: 0 }, 'bases: '],
    [{ bits: 16 }, 'bits: '],
    [{ variant: 'audio' }, 'variant: '],
    [{ cache: -1 }, 'cache: '],
    [{ r: 9999 }, 'a rank of 9999'],
  ])('refuses %j', async (more, named) => {
    try {
      await laidOut(more);
      expect.unreachable();
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('CONFIG_INVALID');
      expect((error as Error).message).toContain(named);
    }
  });
});

describe('the start', () => {
  it('has zero coefficients beside A0, random ones without it, and 1/k for images', async () => {
    const all = async (variant: string) => (await laidOut({ variant })).start;
    const [language, paper, vit] = [await all('language'), await all('paper'), await all('vit')];
    const of = ({ train }: Start, letter: string) => [...floats(train.get(`model.layers.0.up:${letter}`)!)];
    expect([...of(language, 'alpha'), ...of(language, 'beta'), ...of(paper, 'beta')].every((x) => x === 0)).toBe(true);
    expect(of(paper, 'alpha').every((x) => x !== 0)).toBe(true);
    expect(new Set([...of(vit, 'alpha'), ...of(vit, 'beta')])).toEqual(new Set([1 / 16]));
    expect(language.frozen.has('model.layers.0.up:a0')).toBe(true);
    expect(paper.frozen.has('model.layers.0.up:a0')).toBe(false);
  });

  it.each(['language', 'paper', 'vit'])('is never dead: %s', async (variant) => {
    const run = train(tinyModel(), {
      method: nola({ ...options, variant } as Parameters<typeof nola>[0]) as unknown as Bound,
      data: tinyRows(),
      backend: referenceBackend(),
      lr: 0.05,
      steps: 3,
    });
    const moved = await run.result();
    const { start } = await laidOut({ variant });
    for (const name of ['alpha', 'beta'] as const) {
      const before = floats(start.train.get(`model.layers.0.up:${name}`)!);
      expect(floats(await termOf(moved).tensors[name]!.read())).not.toEqual(before);
    }
  });

  it('keeps as many bases as fit, the first ones first', async () => {
    const model = tinyModel();
    const bytes = bytesOfBases(NolaConfig.parse({ r: 4, bases: 16 }), model.targets.find(({ role }) => role === 'up')!);
    const cache = (1.5 * bytes) / 2 ** 20; // room for one
    const plan = bindMethod(nola({ ...options, cache }) as unknown as Bound, model);
    const settled = await settlePlan(plan, { sites: plan.sites } as unknown as Parameters<typeof settlePlan>[1]);
    const { frozen } = await startTensors(settled, { seed: 0, parameters: model.parameters });
    const held = settled.sites.map(({ target }) => frozen.has(`${target.path}:basisA`));
    expect(held).toEqual([true, false, false]);
    const all = (await laidOut()).start.frozen;
    for (const { target } of settled.sites.filter((_, i) => held[i]))
      expect(frozen.get(`${target.path}:basisB`)!.shape).toEqual(all.get(`${target.path}:basisB`)!.shape);
  });
});

describe('the file', () => {
  it('takes a few kilobytes and changes nothing', () =>
    inFolder(async (folder) => {
      const { adapter, model } = await laidOut();
      await writeAdapter(folder, adapter, { kinds });
      const sizes = await Promise.all(
        (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size),
      );
      expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(6000);
      const again = await readAdapter(folder, { kinds, base: model });
      expect(again.digest).toBe(adapter.digest);
      const measured = (of: Adapter) =>
        evaluate(model, { adapter: of, kinds: kinds, data: tinyRows(), backend: referenceBackend() });
      expect(await measured(again)).toEqual(await measured(adapter));
    }));

  it('says what makes its matrices', async () => {
    const { meta } = termOf((await laidOut()).adapter);
    expect(meta).toMatchObject({ algorithm: 'philox4x32-10/1', version: 2, variant: 'language', r: 4, bases: 16 });
    expect(String(meta.seed)).toMatch(/^\d+$/);
    expect(String(meta.fingerprint)).toMatch(/^[0-9a-f]{160}$/);
  });

  it('needs the package that defines the kind', () =>
    inFolder(async (folder) => {
      await writeAdapter(folder, (await laidOut()).adapter, { kinds });
      await expect(readAdapter(folder)).rejects.toMatchObject({ code: 'CONFIG_UNSUPPORTED' });
    }));

  it('is refused on reading when its seed was changed', () =>
    inFolder(async (folder) => {
      await writeAdapter(folder, (await laidOut()).adapter, { kinds });
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
    [{ algorithm: 'mt19937' }, 'its matrices are of mt19937'],
    [{ version: 3 }, 'version 3'],
    [{ fingerprint: '00' }, 'of the fingerprint'],
    [{ variant: 'audio' }, 'its variant audio'],
    [{ bits: 2 }, 'have 2 bits'],
    [{ bases: 17 }, 'its alpha is f32 [16], needed is f32 [17]'],
    [{ r: 0 }, 'its r is 0'],
    [{ r: 1e9 }, 'its r is 1000000000'],
    [{ scale: Number.NaN }, 'its scale is NaN'],
  ])('is refused with %j', async (meta, why) => {
    const { adapter } = await laidOut();
    const term = changed(termOf(adapter), meta);
    try {
      await seededLowRank.dense(term, shapeOf(adapter));
      expect.unreachable();
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('ADAPTER_INVALID');
      expect((error as Error).message).toContain(why);
    }
  });

  it('is refused for another shape', async () => {
    const { adapter } = await laidOut();
    const [out, inside] = shapeOf(adapter) as [number, number];
    for (const shape of [
      [out, inside + 4],
      [out + 4, inside],
    ])
      expect(await seededLowRank.check!(termOf(adapter), shape)).toHaveLength(1);
    expect(seededLowRank.problems(termOf(adapter), [out])).toEqual([expect.stringContaining('changes a matrix')]);
  });

  it('is read with the fingerprint of version 1, which had first numbers alone', async () => {
    const { adapter } = await laidOut();
    const { fingerprint } = termOf(adapter).meta;
    const old = changed(termOf(adapter), { version: 1, fingerprint: String(fingerprint).slice(0, 96) });
    expect(await seededLowRank.check!(old, shapeOf(adapter))).toEqual([]);
    expect(await seededLowRank.check!(changed(old, { seed: '7' }), shapeOf(adapter))).toHaveLength(1);
  });

  it.each([8, 4] as const)('with coefficients of %i bits is smaller and close', async (bits) => {
    const [whole, rounded] = [(await laidOut()).adapter, (await laidOut({ bits })).adapter];
    expect(seededLowRank.bytes(termOf(rounded))).toBe((2 * 16 * bits) / 8);
    expect(seededLowRank.problems(termOf(rounded), shapeOf(rounded))).toEqual([]);
    const [exact, near] = await Promise.all(
      [whole, rounded].map((adapter) => seededLowRank.dense(termOf(adapter), shapeOf(adapter))),
    );
    // Half a step of 127 or 7 on each coefficient: about 1 and 20 percent of a product of two sums.
    expectClose(`${bits} bits`, near!, exact!, { relToMax: bits === 8 ? 0.02 : 0.35 });
    expect(floats(near!)).not.toEqual(floats(exact!));
  });
});

describe('export', () => {
  it('makes the factors once, for layouts that have no seeds', () =>
    inFolder(async (folder) => {
      const { adapter, model } = await laidOut();
      const plain = await materialize(adapter);
      const [term] = plain.delta.params.get('model.layers.0.up.weight')!;
      expect([term!.kind, term!.meta.scale]).toEqual([lowRank.kind, 2]);
      const { layout } = await writeAdapter(folder, plain);
      expect(layout).toBe('LORA');
      const read = await readAdapter(folder, { base: model });
      for (const [path, shape] of adapter.delta.shape) {
        const expected = await seededLowRank.dense(adapter.delta.params.get(path)![0]!, shape);
        expect(floats(await lowRank.dense(read.delta.params.get(path)![0]!, shape))).toEqual(floats(expected));
      }
    }));

  it('is asked for, not done by the way', async () => {
    const { adapter } = await laidOut();
    await expect(writeAdapter('never-written', adapter, { kinds, layout: 'LORA' })).rejects.toMatchObject({
      code: 'DELTA_CONFLICT',
    });
    expect(plugin.kinds).toEqual([seededLowRank]);
  });
});

describe('training on', () => {
  const going = (plan: Awaited<ReturnType<typeof laidOut>>['plan'], adapter: Adapter) =>
    resumeTensors(plan, adapter, { seed: 99, parameters: tinyModel().parameters });

  it('takes the seeds of the adapter, not of the run', async () => {
    const { adapter, plan, start } = await laidOut();
    const { frozen } = await going(plan, adapter);
    expect(frozen).toEqual(start.frozen);
    expect(seedOf(frozen.get('model.layers.0.up:seed')!)).toBe(BigInt(String(termOf(adapter).meta.seed)));
  });

  it('makes the bases of the saved seed once', async () => {
    const { adapter, plan, model } = await laidOut();
    const look = baseLook({ plan, parameters: model.parameters, seed: 99, start: adapter });
    const settled = await settlePlan(plan, look);
    const { frozen } = await startTensors(settled, { seed: 99, parameters: model.parameters });
    const [{ target, c }] = settled.sites as [(typeof settled.sites)[number]];
    expect(seedOf(frozen.get(`${target.path}:seed`)!)).toBe(BigInt(String(termOf(adapter).meta.seed)));
    const fresh = lettersOf(target.path, frozen);
    const again = await nola.method.fromDelta!({ terms: { weight: termOf(adapter) }, target, c: c as never, fresh });
    expect(Object.keys(again)).toEqual(['alpha', 'beta']);
  });

  it('refuses another configuration, and a kind without a seed', async () => {
    const { adapter } = await laidOut();
    const other = await laidOut({ alpha: 4 });
    await expect(going(other.plan, adapter)).rejects.toMatchObject({ code: 'ADAPTER_MISMATCH' });
    await expect(going(other.plan, await materialize(adapter))).rejects.toMatchObject({ code: 'CONFIG_UNSUPPORTED' });
  });

  it('refuses coefficients that can never move', async () => {
    const { adapter, plan } = await laidOut({ variant: 'paper' });
    const zero = tensorRef(f32([16], new Float32Array(16)));
    const params = new Map(
      [...adapter.delta.params].map(([path, [term]]) => [path, [{ ...term!, tensors: { alpha: zero, beta: zero } }]]),
    );
    const dead: Adapter = { ...adapter, delta: { ...adapter.delta, params } };
    await expect(going(plan, dead)).rejects.toMatchObject({ code: 'ADAPTER_INVALID' });
  });
});
