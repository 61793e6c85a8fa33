import {
  type Adapter,
  baseLook,
  bindMethod,
  createGraph,
  createOps,
  f32,
  resumeTensors,
  settlePlan,
  startTensors,
  tensorRef,
  toAdapter,
  train,
} from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type CompacterOptions, compacter, compacterKind, compacterTerm } from '../src/index.js';
import { kroneckerSum } from '../src/math.js';

describe('compacter', () => {
  const roles: CompacterOptions['roles'] = ['up', 'down'];
  const laws = { startsChanged: true, kinds: [compacterKind] };
  testMethod(compacter, {
    config: { n: 2, reductionFactor: 2, roles, targetModules: ['up'], phmInitRange: 0.1 },
    ...laws,
  });
  testMethod(compacter, {
    config: { n: 1, reductionFactor: 2, roles, targetModules: ['up', 'down'], activation: 'tanh', phmInitRange: 0.5 },
    ...laws,
  });

  it('takes its defaults from the paper', () => {
    expect(compacter().config).toMatchObject({ n: 4, reductionFactor: 32, roles: ['output', 'down'] });
  });

  it('sums Kronecker products: entry (a p + i, c q + j) is Σ A[a, c] s[i] t[j]', async () => {
    const graph = createGraph('phm');
    const ops = createOps(graph);
    const values = { a: [2, 2, 2], s: [2, 2, 1], t: [2, 1, 3] } as const;
    const feeds = Object.fromEntries(
      Object.entries(values).map(([name, shape]) => {
        const size = shape.reduce((p: number, d) => p * d, 1);
        return [
          name,
          f32(
            shape,
            Float32Array.from({ length: size }, (_, i) => i + 1),
          ),
        ];
      }),
    );
    const [a, s, t] = Object.entries(values).map(([name, shape]) => ops.input(name, 'f32', shape));
    ops.output(kroneckerSum(a!, { s: s!, t: t! }, ops), 'H');
    const program = await referenceBackend().compile(graph);
    const H = (await program.run(feeds)).H!;
    await program.dispose();
    expect(H.shape).toEqual([4, 6]);
    const at = (name: string, i: number) => Number(feeds[name]!.data[i]);
    H.data.forEach((value, flat) => {
      const [row, column] = [Math.floor(flat / 6), flat % 6];
      const [A, i, c, j] = [Math.floor(row / 2), row % 2, Math.floor(column / 3), column % 3];
      const terms = [0, 1].map((n) => at('a', 4 * n + 2 * A + c) * at('s', 2 * n + i) * at('t', 3 * n + j));
      expect(value).toBe(terms[0]! + terms[1]!);
    });
  });

  it('refuses widths that do not divide, and roles that nothing has', async () => {
    const bind = (options: CompacterOptions & { targetModules?: string[] }) =>
      bindMethod(compacter({ roles, ...options }), tinyModel());
    expect(() => bind({ n: 3, reductionFactor: 2 })).toThrow(/8 outputs do not divide by n = 3.*bottleneck of 4/s);
    expect(() => bind({ targetModules: ['up'] })).toThrow(/bottleneck of 0/);
    const nothing = train(tinyModel(), {
      method: compacter({ targetModules: ['mix'] }),
      data: tinyRows(),
      backend: referenceBackend(),
      lr: 1,
      steps: 1,
    });
    await expect(nothing.result()).rejects.toThrow(/no target has one of the roles output, down; theirs are other/);
  });

  it('refuses biases and dropout, which have no place, at once', () => {
    const bound = compacter({ n: 2, reductionFactor: 2, roles, targetModules: ['up'], bias: 'all', dropout: 0.1 });
    expect(() => bindMethod(bound, tinyModel())).toThrow(/leave bias "all" out[\s\S]*leave dropout out/);
  });

  describe('training on', () => {
    const { targets, parameters } = tinyModel();
    const laidOut = async (activation: CompacterOptions['activation'], start?: Adapter) => {
      const bound = compacter({ n: 2, reductionFactor: 2, roles, targetModules: ['up', 'mix'], activation });
      const plan = bindMethod(bound, { targets: wide, parameters });
      return settlePlan(plan, baseLook({ plan, parameters, seed: 0, ...(start && { start }) }));
    };
    // Two modules of the same width, which a bottleneck of four channels fits.
    const wide = targets.map((target) => (target.path.endsWith('mix') ? { ...target, role: 'up' as const } : target));
    const saved = async () => {
      const plan = await laidOut('relu');
      return toAdapter(plan, await startTensors(plan, { seed: 0, parameters }), { parameters });
    };

    it('refuses another activation', async () => {
      const adapter = await saved();
      const goOn = async (activation: CompacterOptions['activation']) =>
        resumeTensors(await laidOut(activation, adapter), adapter, { seed: 1, parameters });
      expect((await goOn('relu')).train.size).toBe(13);
      await expect(goOn('tanh')).rejects.toMatchObject({
        code: 'ADAPTER_MISMATCH',
        message: expect.stringContaining('"model.layers.0.up" has the activation relu, this configuration tanh'),
      });
    });

    it('refuses matrices that are not the same in all bottlenecks', async () => {
      const adapter = await saved();
      const path = 'model.layers.1.mix.weight';
      const [term] = adapter.delta.params.get(path)!;
      const other = { ...term!, tensors: { ...term!.tensors, a: tensorRef(f32([2, 2, 2], new Float32Array(8))) } };
      const params = new Map(adapter.delta.params).set(path, [other]);
      const mixed = { ...adapter, delta: { ...adapter.delta, params } };
      await expect(laidOut('relu', mixed)).rejects.toMatchObject({
        code: 'ADAPTER_MISMATCH',
        message: expect.stringContaining('"model.layers.1.mix" has other shared matrices than "model.layers.0.up"'),
      });
    });
  });

  it('refuses terms of other widths, by name', () => {
    const ref = (...shape: number[]) => ({ dtype: 'f32' as const, shape, read: () => Promise.reject() });
    const term = compacterTerm(
      {
        a: ref(2, 2, 2),
        downS: ref(2, 4, 1),
        downT: ref(2, 1, 2),
        downB: ref(4),
        upS: ref(2, 2, 1),
        upT: ref(2, 1, 4),
        upB: ref(8),
      },
      { activation: 'relu', transposed: false },
    );
    expect(compacterKind.problems(term, [8, 6])).toEqual([]);
    expect(compacterKind.problems(term, [6, 8]).join('; ')).toMatch(/"downS" is \[2,4,1\], needed is \[2,3,1\].*"upB"/);
  });
});
