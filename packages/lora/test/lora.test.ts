import {
  applyAdapter,
  bindMethod,
  createGraph,
  createOps,
  createRandom,
  f32,
  isPeftError,
  type ParameterRule,
  resumeTensors,
  startTensors,
  type Target,
  type Tensor,
  type TensorRef,
  tensorRef,
  toAdapter,
} from '@peftjs/core';
import { compare, referenceBackend, testMethod } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import plugin, { LoraConfig, lora } from '../src/index.js';

describe('lora', () => {
  testMethod(lora);
  testMethod(lora, { config: { r: 3, rslora: true, init: 'gaussian', loraBias: true } });
  testMethod(lora, { config: { r: 4, init: 'orthogonal' } });
  testMethod(lora, { config: { r: 2, fa: true } });
  testMethod(lora, { config: { r: 2, plus: { ratio: 4 }, dropout: 0.1 } });
  testMethod(lora, { config: { r: 2, dora: true }, constantParts: true });
  testMethod(lora, { config: { r: 2, dora: true, dropout: 0.1, rslora: true }, constantParts: true });
  testMethod(lora, { config: { r: 2, init: 'pissa', alpha: 6 } });
  testMethod(lora, { config: { r: 2, init: 'olora', fa: true, rslora: true } });
  testMethod(lora, { config: { r: 2, init: 'pissa', dora: true }, constantParts: true });
  testMethod(lora, { config: { r: 2, init: 'eva', eva: { batches: 5 } } });
  testMethod(lora, {
    config: { r: 2, targetModules: ['up', 'mix'], trainableTokenIndices: { embed: [3, 0] } },
  });
});

const rng = createRandom(5);
const numbers = (tensor: Tensor | undefined): Float32Array => tensor!.data as Float32Array;
const target = (kind: Target['kind'], inside: number, out: number, path = 'm'): Target => ({
  kind,
  path,
  in: inside,
  out,
  parameters: {},
});
const settings = (options: object = {}) => LoraConfig.parse(options);
const start = (options: object, where: Target) => lora.method.init(where, settings(options), rng.fork(where.path), {});

const moments = (values: Float32Array) => {
  const mean = values.reduce((s, x) => s + x, 0) / values.length;
  const variance = values.reduce((s, x) => s + (x - mean) ** 2, 0) / values.length;
  return { mean, std: Math.sqrt(variance), max: values.reduce((m, x) => Math.max(m, Math.abs(x)), 0) };
};

/** Row-major product of [m, k] and [k, n] in double precision. */
function product(a: ArrayLike<number>, b: ArrayLike<number>, m: number, k: number, n: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++)
      for (let l = 0; l < k; l++) c[i * n + j] = c[i * n + j]! + a[i * k + l]! * b[l * n + j]!;
  return c;
}

describe('configuration', () => {
  it('has PEFT defaults and its names', () => {
    expect(lora().config).toMatchObject({
      r: 8,
      alpha: 8,
      rslora: false,
      init: true,
      loraBias: false,
      fa: false,
      dropout: 0,
      bias: 'none',
    });
    expect(lora({ r: 4, plus: {} }).config).toMatchObject({ r: 4, plus: { ratio: 16, embeddingLr: 1e-6 } });
    const fromFile = {
      lora_alpha: 2,
      use_rslora: true,
      lora_dropout: 0.1,
      init_lora_weights: 'gaussian',
      rank_pattern: { q: 2 },
    };
    expect(lora(fromFile as Parameters<typeof lora>[0]).config).toMatchObject({
      alpha: 2,
      rslora: true,
      dropout: 0.1,
      init: 'gaussian',
      rankPattern: { q: 2 },
    });
  });

  it.each([
    [{ r: 0 }, 'r: '],
    [{ r: 2.5 }, 'r: '],
    [{ init: 'svd' }, 'init: '],
    [{ rank: 4 }, '"rank" is no key'],
    [{ plus: { ratio: -1 } }, 'plus.ratio: '],
    [{ rankPattern: { q: '6' } }, 'rankPattern.q: '],
  ])('refuses %j', (options, named) => {
    try {
      lora(options as Parameters<typeof lora>[0]);
      expect.unreachable();
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('CONFIG_INVALID');
      expect((error as Error).message).toContain(named);
    }
  });

  it('says where an option has no meaning', () => {
    const check = (options: object, where: Target) => lora.method.check!(where, settings(options)).join();
    expect(check({ init: 'orthogonal', r: 3 }, target('linear', 4, 4))).toContain('even r');
    expect(check({ loraBias: true }, target('embedding', 4, 4))).toContain('bias');
    expect(check({ fa: true }, target('embedding', 4, 4))).toContain('zero');
    expect(check({ r: 1e9 }, target('linear', 4, 5))).toContain('a rank of 1000000000 is more than its 5 outputs');
    expect(check({ r: 5 }, target('linear', 4, 5))).toBe('');
    expect(check({ init: 'orthogonal', r: 4, fa: true, loraBias: true }, target('linear', 4, 4))).toBe('');
  });

  it('is a plugin', () => expect(plugin.methods?.map(({ method }) => method.name)).toEqual(['lora']));
});

describe('start', () => {
  const wide = target('linear', 1024, 64);

  it('is uniform in ±1/√in for A and zero for B', () => {
    const { a, b } = start({ r: 8 }, wide).train;
    const { mean, std, max } = moments(numbers(a));
    // 8192 draws: the standard error of the mean is 2e-4, of the deviation 1e-4.
    expect(Math.abs(mean)).toBeLessThan(1e-3);
    expect(std).toBeCloseTo(1 / Math.sqrt(3 * 1024), 3);
    expect(max).toBeLessThanOrEqual(1 / 32);
    expect(max).toBeGreaterThan(0.99 / 32);
    expect([a!.shape, b!.shape, moments(numbers(b)).max]).toEqual([[8, 1024], [64, 8], 0]);
  });

  it('gaussian has deviation 1/r', () => {
    const { a, b } = start({ r: 4, init: 'gaussian' }, wide).train;
    expect(moments(numbers(a)).std).toBeCloseTo(0.25, 2);
    expect(moments(numbers(b)).max).toBe(0);
  });

  it('false draws both', () => {
    const { a, b } = start({ r: 16, init: false }, wide).train;
    expect(moments(numbers(a)).std).toBeCloseTo(1 / Math.sqrt(3 * 1024), 3);
    expect(moments(numbers(b)).std).toBeCloseTo(1 / Math.sqrt(3 * 16), 2);
  });

  it('orthogonal has two factors whose product is zero', () => {
    const { a, b } = start({ r: 6, init: 'orthogonal' }, target('linear', 40, 30)).train;
    expect(moments(numbers(a)).std).toBeGreaterThan(0.03);
    expect(moments(numbers(b)).std).toBeGreaterThan(0.03);
    const ba = product(numbers(b), numbers(a), 30, 6, 40);
    // Rounding of factors of about 0.1 to float32, six products.
    expect(ba.reduce((m, x) => Math.max(m, Math.abs(x)), 0)).toBeLessThan(1e-8);
  });

  it('changes roles for embeddings', () => {
    const { a, b } = start({ r: 8 }, target('embedding', 50, 512)).train;
    expect(moments(numbers(a)).max).toBe(0);
    expect(moments(numbers(b)).std).toBeCloseTo(1, 1);
    expect([a!.shape, b!.shape]).toEqual([
      [8, 50],
      [512, 8],
    ]);
  });

  it('LoRA-FA freezes A and the inverse that corrects the gradient', () => {
    const c = { r: 3, alpha: 6, fa: true };
    const { train, frozen } = start(c, target('linear', 20, 10));
    expect([Object.keys(train), Object.keys(frozen!)]).toEqual([['b'], ['a', 'k']]);
    const a = numbers(frozen!.a);
    const at = Float64Array.from({ length: 60 }, (_, i) => a[(i % 3) * 20 + Math.floor(i / 3)]!);
    const gram = product(a, at, 3, 20, 3);
    const identity = product(
      gram,
      numbers(frozen!.k).map((x) => x * 4),
      3,
      3,
      3,
    );
    // k is stored in float32, and A Aᵀ is well conditioned.
    identity.forEach((x, i) => {
      expect(Math.abs(x - (i % 4 === 0 ? 1 : 0))).toBeLessThan(1e-5);
    });
  });
});

describe('learning rates of LoRA+', () => {
  const ruleOf = (where: Target, name: string, shape: readonly number[], plus?: object): ParameterRule =>
    lora.method.rule!({ target: where, name, shape }, settings(plus ? { plus } : {}));

  it('are B times the ratio, embeddings their own, vectors like B', () => {
    const plus = { ratio: 4, embeddingLr: 1e-3 };
    const linear = target('linear', 4, 4);
    expect(ruleOf(linear, 'a', [2, 4], plus)).toEqual({});
    expect(ruleOf(linear, 'b', [4, 2], plus)).toEqual({ lr: 4 });
    expect(ruleOf(linear, 'm', [4], plus)).toEqual({ lr: 4 });
    expect(ruleOf(linear, 'bias', [4], plus)).toEqual({ lr: 4, weightDecay: 0 });
    expect(ruleOf(linear, 'weight', [4, 4], plus)).toEqual({});
    expect(ruleOf(target('embedding', 4, 4), 'a', [2, 4], plus)).toEqual({ absoluteLr: 1e-3 });
    expect(ruleOf(linear, 'b', [4, 2])).toEqual({});
  });
});

/** A module of each kind: how the base computes it and what it looks like. */
const modules: readonly Target[] = [
  target('linear', 5, 4, 'lin'),
  target('conv1d', 5, 4, 'conv'),
  target('embedding', 6, 4, 'emb'),
];

const parameters = new Map<string, TensorRef>(
  modules.flatMap(({ path, kind, in: inside, out }) => [
    [`${path}.weight`, tensorRef(rng.fork(path).normal(kind === 'linear' ? [out, inside] : [inside, out]))],
    [`${path}.bias`, tensorRef(rng.fork(path, 'bias').normal([out]))],
  ]),
);
const model = { targets: modules, parameters };

describe('the update', () => {
  const options: NonNullable<Parameters<typeof lora>[0]> = {
    targetModules: ['lin', 'conv', 'emb'],
    r: 3,
    alpha: 5,
    init: false,
    rankPattern: { conv: 2 },
    alphaPattern: { lin: 7 },
  };

  it.each([{}, { rslora: true }])('is x ΔWᵀ of what is saved, in every layout (%j)', async (extra) => {
    const plan = bindMethod(lora({ ...options, ...extra }), model);
    const tensors = await startTensors(plan, { seed: 1, parameters });
    const merged = applyAdapter(parameters, await toAdapter(plan, tensors, { parameters })).parameters;
    for (const { target: where, c } of plan.sites) {
      const graph = createGraph('site');
      const ops = createOps(graph);
      const ids = where.kind === 'embedding';
      const x = ops.input('x', ids ? 'i64' : 'f32', ids ? ['rows'] : ['rows', where.in]);
      const p = Object.fromEntries(
        ['a', 'b'].map((name) => [name, ops.constant(tensors.train.get(`${where.path}:${name}`)!)]),
      );
      const site = { p, target: where, c, s: {} };
      ops.output(lora.method.apply!({ ...site, x, y: x, parameters: {}, dropped: false }, ops), 'fast');
      const w = lora.method.delta!(site, ops); // out × in
      ops.output(
        ids ? ops.transpose(ops.gather(w, x, 1), [1, 0]) : ops.gemm(x, w, undefined, { transB: true }),
        'slow',
      );
      const saved = ops.sub(
        ops.constant(await merged.get(`${where.path}.weight`)!.read()),
        ops.constant(await parameters.get(`${where.path}.weight`)!.read()),
      );
      ops.output(
        ids ? ops.gather(saved, x) : ops.gemm(x, saved, undefined, { transB: where.kind === 'linear' }),
        'saved',
      );
      const feed: Tensor = ids
        ? { dtype: 'i64', shape: [3], data: BigInt64Array.of(0n, 5n, 2n) }
        : rng.fork('x').normal([3, where.in]);
      const program = await referenceBackend().compile(graph);
      const { fast, slow, saved: kept } = await program.run({ x: feed });
      for (const [got, tolerance] of [
        [slow, 1e-6],
        [kept, 1e-5],
      ] as const) {
        const found = compare(got!, fast!, { relToMax: tolerance });
        expect(found.close, `${where.path}: ${found.message}`).toBe(true);
      }
      await program.dispose();
    }
  });

  it('adds s b_B to the bias', async () => {
    const plan = bindMethod(
      lora({ targetModules: ['lin', 'conv'], r: 2, alpha: 4, init: false, loraBias: true }),
      model,
    );
    const tensors = await startTensors(plan, { seed: 1, parameters });
    const merged = applyAdapter(parameters, await toAdapter(plan, tensors, { parameters })).parameters;
    const before = numbers(await parameters.get('lin.bias')!.read());
    const bias = numbers(tensors.train.get('lin:bias'));
    expect(numbers(await merged.get('lin.bias')!.read())).toEqual(before.map((x, i) => x + 2 * bias[i]!));
  });

  it('counts its trainables in closed form', () => {
    const sizes = (more: object) => bindMethod(lora({ ...options, ...more }), model).size;
    expect(sizes({})).toBe(3 * 9 + 2 * 9 + 3 * 10);
    expect(sizes({ targetModules: ['lin'], fa: true, loraBias: true })).toBe(3 * 4 + 4);
  });

  it('goes on from what was saved, LoRA-FA with its correction', async () => {
    for (const more of [{}, { fa: true, targetModules: ['lin', 'conv'] }]) {
      const plan = bindMethod(lora({ ...options, ...more }), model);
      const tensors = await startTensors(plan, { seed: 1, parameters });
      const adapter = await toAdapter(plan, tensors, { parameters });
      expect(await resumeTensors(plan, adapter, { seed: 2, parameters })).toEqual(tensors);
    }
  });

  it('corrects the gradient of B only', async () => {
    const graph = createGraph('gradient');
    const ops = createOps(graph);
    const g = ops.input('g', 'f32', [2, 2]);
    const p = { k: ops.constant(f32([2, 2], [1, 2, 3, 4])) };
    const change = (name: string, params: object) =>
      lora.method.precondition!(
        { name, g, p: params as typeof p, c: settings(), target: target('linear', 2, 2), s: {} },
        ops,
      );
    expect([change('bias', p), change('b', {})]).toEqual([g, g]);
    ops.output(change('b', p), 'y');
    const program = await referenceBackend().compile(graph);
    expect((await program.run({ g: f32([2, 2], [1, 0, 1, 1]) })).y!.data).toEqual(Float32Array.of(1, 2, 4, 6));
  });
});
