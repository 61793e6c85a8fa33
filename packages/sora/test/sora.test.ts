import {
  type Bound,
  baseLook,
  bindMethod,
  createGraph,
  createOps,
  createRandom,
  f32,
  isPeftError,
  matchTargets,
  resumeTensors,
  type ShapedValue,
  settlePlan,
  startTensors,
  type Tensor,
  type TrainEvent,
  toAdapter,
  train,
  writeAdapter,
} from '@peftjs/core';
import { expectClose, referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import plugin, { effectiveParameters, effectiveRanks, SoraConfig, sora } from '../src/index.js';
import { officialThreshold, softThreshold, stageThreshold } from '../src/math.js';

describe('sora', () => {
  testMethod(sora);
  testMethod(sora, { config: { r: 3, alpha: 5, threshold: 'official', gateRule: 'adamw', lambda: 1e-3, l1: 0.1 } });
  testMethod(sora, { config: { r: 4, threshold: 'constant', lambda: 1e-3, gateLr: 0.1, dropout: 0.1 } });
  testMethod(sora, { config: { schedule: { stages: 2, first: 1 } } });
});

const floats = (tensor: Tensor | undefined): number[] => [...(tensor!.data as Float32Array)];

describe('configuration', () => {
  it("has the paper's rule and the authors' numbers as defaults", () => {
    expect(sora().config).toMatchObject({ r: 8, alpha: 16, lambda: 1e-3, threshold: 'paper', l1: 0 });
    expect(sora({ schedule: {} }).config.schedule).toEqual({ stages: 7, from: 0, shape: 'linear', first: 50 / 15 });
    expect(plugin.methods?.map(({ method }) => method.name)).toEqual(['sora']);
  });

  it.each([
    [{ r: 0 }, 'r: '],
    [{ lambda: -1 }, 'lambda: '],
    [{ threshold: 'hard' }, 'threshold: '],
    [{ gateLr: 0 }, 'gateLr: '],
    [{ schedule: { stages: 1 } }, 'schedule.stages: '],
    [{ schedule: { shape: 'exp_linear' } }, 'schedule.from: '],
    [{ lambda: 0.1, schedule: { from: 0.2 } }, 'schedule.from: must not be above lambda'],
    [{ lambda: 0, schedule: { shape: 'exp_linear', from: 0.1 } }, 'schedule.from: must not be above lambda'],
  ])('refuses %j', (options, named) => {
    try {
      sora(options as Parameters<typeof sora>[0]);
      expect.unreachable();
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('CONFIG_INVALID');
      expect((error as Error).message).toContain(named);
    }
  });
});

/** y of a formula over v and xi. */
async function onTable(formula: typeof softThreshold, v: readonly number[], xi: number): Promise<number[]> {
  const graph = createGraph('threshold');
  const ops = createOps(graph);
  const inputs: [ShapedValue, ShapedValue] = [ops.input('v', 'f32', [v.length]), ops.input('xi', 'f32', [])];
  ops.output(formula(...inputs, ops), 'y');
  const program = await referenceBackend().compile(graph);
  const { y } = await program.run({ v: f32([v.length], v), xi: f32([], [xi]) });
  await program.dispose();
  return floats(y);
}

describe('thresholds', () => {
  const v = [-2.5, -2, -1.75, -1.25, -1, -0.5, 0, 0.5, 1, 1.25, 1.75, 2, 2.5];

  it('soft: towards zero by ξ', async () => {
    expect(await onTable(softThreshold, v, 1)).toEqual([-1.5, -1, -0.75, -0.25, 0, 0, 0, 0, 0, 0.25, 0.75, 1, 1.5]);
  });

  it('official: twice the dead zone, and ±ξ stays', async () => {
    expect(await onTable(officialThreshold, v, 1)).toEqual([-1.5, -1, 0, 0, -1, 0, 0, 0, 1, 0, 0, 1, 1.5]);
  });

  it('grow from the first stage to the last', () => {
    const stages = (shape: 'linear' | 'log_linear' | 'exp_linear', from: number, to: number) =>
      [0, 1, 2].map((i) => stageThreshold(shape, from, to, i, 3));
    expect(stages('linear', 0, 0.5)).toEqual([0, 0.25, 0.5]);
    const [first, middle, last] = stages('exp_linear', 0.01, 1);
    expect([first, middle, last].map((x) => x!.toFixed(9))).toEqual(['0.010000000', '0.100000000', '1.000000000']);
    expect(stages('log_linear', 0, 1)[1]).toBeCloseTo(Math.log((1 + Math.E) / 2), 12);
  });
});

describe('the start', () => {
  const site = tinyModel().targets[0]!;
  const c = SoraConfig.parse({ r: 4096 });

  it('is that of LoRA, with gates from N(0, 1)', () => {
    const { a, b, g } = sora.method.init(site, c, createRandom(1), {}).train;
    const gates = floats(g);
    const mean = gates.reduce((s, x) => s + x, 0) / gates.length;
    const deviation = Math.sqrt(gates.reduce((s, x) => s + (x - mean) ** 2, 0) / gates.length);
    expect(Math.abs(mean)).toBeLessThan(0.06); // 4096 draws: the standard error is 0.016
    expect(Math.abs(deviation - 1)).toBeLessThan(0.05);
    expect(Math.max(...floats(a).map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(site.in));
    expect(floats(b).every((x) => x === 0)).toBe(true);
  });
});

/** A plan on every matrix of the tiny model, narrow and wide, with random tensors and chosen gates. */
async function withGates(gates: (path: string) => readonly number[], bias: 'none' | 'sora_only' = 'none') {
  const model = tinyModel();
  const { targets, parameters } = model;
  const bound = sora({ r: 4, alpha: 6, targetModules: ['up', 'down', 'mix', 'head'], bias }) as unknown as Bound;
  const plan = bindMethod(bound, { targets, parameters });
  const start = await startTensors(plan, { seed: 1, parameters });
  const tensors = new Map(
    [...start.train].map(([name, { shape }]) => [
      name,
      name.endsWith(':g') ? f32([4], gates(name.slice(0, -2))) : createRandom(2).fork(name).normal(shape, 0, 0.1),
    ]),
  );
  return { model, plan, adapter: await toAdapter(plan, { ...start, train: tensors }, { parameters }), tensors };
}

describe('pruning', () => {
  const narrow = (path: string) => path.endsWith('.up');

  it('drops closed gates, folds the others, and keeps alpha / r', async () => {
    const { adapter, plan, tensors } = await withGates(() => [0, -2, 0, 0.5]);
    const { target } = plan.sites[0]!;
    const [term] = adapter.delta.params.get(`${target.path}.weight`)!;
    expect(term!.meta.scale).toBe(6 / 4);
    const [a, b] = [floats(tensors.get(`${target.path}:a`)), floats(tensors.get(`${target.path}:b`))];
    const row = (i: number, g: number) => a.slice(i * target.in, (i + 1) * target.in).map((x) => Math.fround(g * x));
    expect(floats(await term!.tensors.a!.read())).toEqual([...row(1, -2), ...row(3, 0.5)]);
    expect(floats(await term!.tensors.b!.read())).toEqual(b.filter((_, i) => i % 4 === 1 || i % 4 === 3));
  });

  it('counts what is left by the width of each module', async () => {
    const { adapter, plan } = await withGates((path) => (narrow(path) ? [1, 0, 0, 0] : [1, 1, 0, 1]));
    const expected = plan.sites.map(({ target }) => {
      const rank = narrow(target.path) ? 1 : 3;
      return { path: `${target.path}.weight`, rank, parameters: rank * (target.in + target.out) };
    });
    expect(new Set(plan.sites.map(({ target }) => target.in + target.out)).size).toBeGreaterThan(1);
    expect(effectiveRanks(adapter)).toEqual(expected);
    expect(effectiveParameters(adapter)).toBe(expected.reduce((sum, { parameters }) => sum + parameters, 0));
  });

  it('leaves a module without gates out of the adapter and of what it says to adapt', async () => {
    const { adapter, plan, model } = await withGates((path) => (narrow(path) ? [0, 0, 0, 0] : [1, 0, 0, 1]));
    const kept = plan.sites.map(({ target }) => target.path).filter((path) => !narrow(path));
    expect(kept.length).toBeLessThan(plan.sites.length);
    expect([...adapter.delta.params.keys()]).toEqual(kept.map((path) => `${path}.weight`));
    const rules = adapter.method!.config as Parameters<typeof matchTargets>[1];
    expect(matchTargets(model.targets, rules).targets.map(({ path }) => path)).toEqual(kept);
  });

  it('saves a module without gates in full where its bias is trained', async () => {
    const { adapter, plan } = await withGates((path) => (narrow(path) ? [0, 0, 0, 0] : [1, 0, 0, 1]), 'sora_only');
    const [lost] = plan.sites.filter(({ target }) => narrow(target.path));
    const biases = plan.sites.map(({ target }) => `${target.path}.bias`);
    expect([...adapter.replaced.keys()].sort()).toEqual([...biases, `${lost!.target.path}.weight`].sort());
    expect(adapter.replaced.get(`${lost!.target.path}.weight`)).toBe(lost!.target.parameters.weight);
  });

  it('goes on with the ranks that are left, gates at one and the scale as it was', async () => {
    const { adapter, model } = await withGates((path) => (narrow(path) ? [0, 0, 0, 0] : [1, 0, -2, 1]));
    const { targets, parameters } = model;
    const bound = sora({ r: 4, alpha: 6, targetModules: ['up', 'down', 'mix', 'head'] }) as unknown as Bound;
    const plan = bindMethod(bound, { targets, parameters });
    const settled = await settlePlan(plan, baseLook({ plan, parameters, seed: 0, start: adapter }));
    expect(settled.sites.map(({ c }) => c)).toEqual(
      settled.sites.map(() => expect.objectContaining({ r: 3, alpha: 4.5 })),
    );
    expect(settled.sites.map(({ target }) => `${target.path}.weight`)).toEqual([...adapter.delta.params.keys()]);
    const start = await resumeTensors(settled, adapter, { seed: 0, parameters });
    for (const [name, tensor] of start.train) if (name.endsWith(':g')) expect(floats(tensor)).toEqual([1, 1, 1]);
    const back = await toAdapter(settled, start, { parameters });
    expect(back.digest).toBe(adapter.digest);
  });

  it('says so when nothing is left to write', async () => {
    const { adapter } = await withGates(() => [0, 0, 0, 0]);
    await expect(writeAdapter('never-written', adapter, { layout: 'LORA' })).rejects.toMatchObject({
      code: 'DELTA_CONFLICT',
    });
  });
});

async function events(options: Parameters<typeof sora>[0], more: object = {}): Promise<TrainEvent[]> {
  const run = train(tinyModel(), {
    method: sora(options) as unknown as Bound,
    data: tinyRows(),
    backend: referenceBackend(),
    lr: 0.01,
    steps: 8,
    batchSize: 4,
    ...more,
  });
  const all: TrainEvent[] = [];
  for await (const event of run) all.push(event);
  return all;
}

describe('a run', () => {
  it('opens stages with the rate anew, and says at their ends what is left', async () => {
    const all = await events({ lambda: 0.4, schedule: { stages: 3, first: 2 } });
    const steps = all.flatMap((event) => (event.type === 'step' ? [event] : []));
    expect(steps.map(({ phase }) => phase?.[6])).toEqual(['1', '1', '1', '1', '2', '2', '3', '3']);
    expect([steps[4]!.lr, steps[6]!.lr]).toEqual([0.01, 0.01]);
    const notes = steps.flatMap(({ note, step }) => (note ? [{ step, zeros: Number.parseInt(note, 10) }] : []));
    expect(notes.map(({ step }) => step)).toEqual([4, 6, 8]);
    // lambda of the first stage is 0, so that nothing but chance makes a gate exactly zero there.
    expect([notes[0]!.zeros, notes[2]!.zeros > 0]).toEqual([0, true]);
  });

  it('the threshold without the rate acts while the rate is zero, the other does not', async () => {
    const zeros = async (threshold: 'paper' | 'constant') => {
      const [event] = await events(
        { threshold, lambda: 0.5, r: 16 },
        { steps: 1, warmupSteps: 1, warmupFromZero: true },
      ).then((all) => all.flatMap((event) => (event.type === 'step' ? [event] : [])));
      return Number.parseInt(event!.note!, 10);
    };
    expect(await zeros('paper')).toBe(0);
    expect(await zeros('constant')).toBeGreaterThan(0);
  });

  it('reports the extra term as the mean of |g| times its weight', async () => {
    const { plan, tensors } = await withGates(() => [1, -2, 0, 0.5]);
    const graph = createGraph('penalty');
    const ops = createOps(graph);
    const c = SoraConfig.parse({ r: 16, l1: 0.8 }); // as configured; 4 gates were left to train on
    const sites = plan.sites.map(({ target }) => ({
      target,
      c: { ...c, r: 4 },
      s: {},
      parameters: {},
      p: { g: ops.constant(tensors.get(`${target.path}:g`)!) },
    }));
    const options = { sites, replaced: [], parameters: 0 };
    ops.output(sora.method.penalty!({ ...options, c }, ops)!, 'penalty');
    const program = await referenceBackend().compile(graph);
    const { penalty } = await program.run({});
    expectClose('penalty', penalty!, f32([], [(0.8 * 3.5) / 4]), { relToMax: 1e-6 });
    expect(sora.method.penalty!({ ...options, c: SoraConfig.parse({}) }, ops)).toBeUndefined();
  });
});
