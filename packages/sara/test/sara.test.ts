import {
  type Adapter,
  bindMethod,
  createGraph,
  createOps,
  f32,
  gradients,
  graphIndices,
  matmul,
  startTensors,
  svd,
  type TrainOptions,
  train,
  transpose,
} from '@peftjs/core';
import { compare, referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type SaraSettings, sara } from '../src/index.js';
import { nuclearNorm, oneNorm } from '../src/nuclear.js';
import { nextPhase } from '../src/phases.js';
import { below, changes, smallest } from '../src/select.js';

describe('sara', () => {
  testMethod(sara, { config: { threshold: 0.2 } });
  testMethod(sara, { config: { threshold: 0.2, rankAbove: 2, lambdaRank: 0.01, targetModules: ['up', 'down'] } });
  testMethod(sara, {
    config: { count: 10, progressive: false, pull: 'weights', rankAbove: 2, targetModules: ['mix'] },
  });

  it('takes its defaults from the paper', () => {
    expect(sara().config).toMatchObject({ threshold: 2e-3, progressive: true, lambdaRank: 5e-4, pull: 'change' });
  });

  it('selects what is below the threshold, or exactly so many', () => {
    expect(below([0.1, -0.3, 0.2, -0.1], 0.2)).toEqual([0, 3]);
    expect(smallest([0.1, -0.3, 0.2, -0.1], 3)).toEqual({ indices: [0, 2, 3], next: 0.3 });
    expect(smallest([1, 1, 1], 2).indices).toEqual([0, 1]);
  });

  it('computes the nuclear norm and its gradient U Vᵀ without a decomposition', async () => {
    const shape = [5, 3] as const;
    const values = Float32Array.from({ length: 15 }, (_, i) => Math.sin(3 * i * i + 1));
    const graph = createGraph('nuclear');
    const ops = createOps(graph);
    const x = ops.input('x', 'f32', shape);
    const norm = ops.output(nuclearNorm(x, ops), 'norm');
    ops.output(gradients(graph, norm, [x])[0]!, 'slope');
    const program = await referenceBackend().compile(graph);
    const outputs = await program.run({ x: f32(shape, values) });
    await program.dispose();
    const { u, s, v } = svd({ rows: 5, columns: 3, data: Float64Array.from(values) });
    expect(Number(outputs.norm!.data[0])).toBeCloseTo(
      s.reduce((a: number, b: number) => a + b),
      4,
    );
    const slope = f32(shape, matmul(u, transpose(v)).data);
    // 1e-4: the iteration ends a little before the limit.
    expect(compare(outputs.slope!, slope, { absolute: 1e-4 }).close).toBe(true);
  });

  it('takes the norm of one matrix a step, with one dense matrix for each shape', async () => {
    const graph = createGraph('turns');
    const ops = createOps(graph);
    // Single numbers: the norm is their magnitude. The third has one place twice.
    const entries = [
      { shape: [3, 2], at: [1], values: [2] },
      { shape: [2, 2], at: [3], values: [-3] },
      { shape: [3, 2], at: [4, 4], values: [3, 4] },
    ];
    const values = entries.map(({ at }, i) => ops.input(`v${i}`, 'f32', [at.length]));
    const matrices = entries.map(({ shape, at }, i) => ({
      shape,
      indices: ops.constant(graphIndices(at)),
      values: values[i]!,
    }));
    const norm = ops.output(oneNorm(matrices, ops.input('u', 'f32', []), ops), 'norm');
    expect(graph.nodes.filter(({ op }) => op === 'ScatterND')).toHaveLength(2);
    ops.output(gradients(graph, norm, [values[2]!])[0]!, 'slope');
    const program = await referenceBackend().compile(graph);
    const feeds = Object.fromEntries(entries.map(({ values }, i) => [`v${i}`, f32([values.length], values)]));
    for (const [turn, size] of [2, 3, 7].entries()) {
      const { norm, slope } = await program.run({ ...feeds, u: f32([], [(turn + 0.5) / 3]) });
      // 1e-3: what the iteration reaches for a matrix of rank one.
      expect(Math.abs(Number(norm!.data[0]) - size)).toBeLessThan(1e-3 * size);
      expect(compare(slope!, f32([2], turn === 2 ? [1, 1] : [0, 0]), { absolute: 1e-3 }).close).toBe(true);
    }
    await program.dispose();
  });

  it('goes on with what is still small, and keeps what has changed', async () => {
    const target = tinyModel().targets.find(({ path }) => path.endsWith('up'))!;
    const p = { v: f32([2], [1, 0.25]), indices: graphIndices([0, 2]) };
    const W = f32([4], [0.125, 3, 0.125, 0.75]);
    const c = { ...sara({ threshold: 0.5 }).config } as SaraSettings;
    const end = { sites: [{ target, c, p }], weight: async () => W };
    const next = (await nextPhase(end as never)).sites.get(target.path)!;
    expect([...next.frozen!.indices!.data]).toEqual([2n]);
    expect([...changes({ ...next.frozen, v: f32([1], [0.5]) })]).toEqual([
      [0, 1],
      [2, 0.75],
    ]);
  });

  it('goes on with the numbers that an adapter has changed', async () => {
    const run = (more: Partial<TrainOptions> = {}) =>
      train(tinyModel(), {
        method: sara({ threshold: 0.2, targetModules: ['up', 'down'], progressive: false }),
        data: tinyRows(),
        backend: referenceBackend(),
        lr: 0.02,
        steps: 3,
        ...more,
      }).result();
    const start = await run();
    const method = sara({ threshold: 0.05, targetModules: ['up', 'down'], progressive: false });
    const more = await run({ method, start });
    const places = ({ delta }: Adapter) =>
      Promise.all([...delta.params.values()].map(async ([term]) => (await term!.tensors.indices!.read()).data));
    expect(await places(more)).toEqual(await places(start));
    expect(more.digest).not.toBe(start.digest);
  });

  it('refuses counts that a weight does not have, thresholds that select nothing, and a start without a plan', async () => {
    const model = tinyModel();
    expect(() => bindMethod(sara({ count: 1000, targetModules: ['up'] }), model)).toThrow(/48 numbers, count is 1000/);
    expect(() => sara({ threshold: 0, lambdaRank: -1 })).toThrow(/threshold.*lambdaRank/s);
    const none = sara({ threshold: 1e-9, targetModules: ['up'] });
    const run = train(model, { method: none, data: tinyRows(), backend: referenceBackend(), lr: 0.02, steps: 1 });
    await expect(run.result()).rejects.toMatchObject({ code: 'TARGETS_UNMATCHED' });
    const plan = bindMethod(sara(), model);
    await expect(startTensors(plan, { seed: 0, parameters: model.parameters })).rejects.toThrow(/plan it first/);
  });
});
