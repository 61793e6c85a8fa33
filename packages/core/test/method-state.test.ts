import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as z from 'zod';
import { expectPeftError, referenceBackend, tinyModel, tinyRows } from '../../testkit/src/index.js';
import {
  type Adapter,
  type Backend,
  defineMethod,
  defineOptimizer,
  denseTerm,
  type ErrorCode,
  f32,
  type Initial,
  type Method,
  PeftError,
  sgd,
  type Target,
  type TrainEvent,
  type TrainOptions,
  tensorRef,
  toF32,
  train,
} from '../src/index.js';
import { judge } from '../src/train/judge.js';

const Config = z.strictObject({ rate: z.number().default(1) });
type C = z.output<typeof Config>;

const filled = ({ out, in: inside }: Target, x: number) => f32([out, inside], new Float32Array(out * inside).fill(x));
const start = (target: Target): Initial => ({ train: { d: filled(target, 0) } });

/** W + D in place of W. */
const inPlace = (parts: Partial<Method<typeof Config, C>> = {}) =>
  defineMethod<typeof Config>({
    spec: 'v1',
    name: 'in-place-test',
    paper: 'https://example.org',
    layout: 'PEFTJS',
    additive: true,
    kinds: ['linear'],
    config: Config,
    init: start,
    weight: ({ W, p, name }, ops) => (name === 'weight' ? ops.add(W, p.d!) : W),
    toDelta: ({ p }) => ({ weight: denseTerm(tensorRef(p.d!)) }),
    size: (target) => target.in * target.out,
    ...parts,
  });

async function ran(
  method: ReturnType<typeof inPlace>,
  more: Partial<TrainOptions> & { modulesToSave?: string[] } = {},
) {
  const { modulesToSave = [], ...options } = more;
  const run = train(tinyModel(), {
    method: method({ targetModules: ['up'], modulesToSave }),
    data: tinyRows(),
    backend: referenceBackend(),
    optimizer: sgd(),
    schedule: 'constant',
    lr: 0.1,
    steps: 4,
    batchSize: 12,
    ...options,
  });
  const events: TrainEvent[] = [];
  for await (const event of run) events.push(event);
  return { events, adapter: await run.result() };
}

async function changeOf({ delta }: Adapter): Promise<number[]> {
  const [term] = delta.params.get('model.layers.0.up.weight')!;
  return Array.from(toF32(await term!.tensors.delta!.read()).data);
}

/** A backend whose n-th program cannot be had. */
function failingAt(n: number, code: ErrorCode): Backend {
  const backend = referenceBackend();
  let compiled = 0;
  return {
    ...backend,
    async compile(graph, options) {
      if (++compiled === n) throw new PeftError(code, 'No program this time.');
      return backend.compile(graph, options);
    },
  };
}

describe('the state of a run', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'state-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  /** A run whose second program cannot be had, resumed, ends as one in a single go. @returns the steps after that */
  async function goesOn(method: ReturnType<typeof inPlace>, code: ErrorCode) {
    const checkpoint = { directory, every: 1000 };
    await expectPeftError(() => ran(method, { checkpoint, backend: failingAt(2, code) }), [code]);
    const rest = await ran(method, { checkpoint, resume: true });
    expect(rest.adapter.digest).toBe((await ran(method)).adapter.digest);
    return rest.events.flatMap((event) => (event.type === 'step' ? [event.step] : []));
  }

  it('is in a checkpoint when the next phase cannot be compiled, and goes on from there', async () => {
    const method = inPlace({
      phases: () => [
        { name: 'one', share: 1 },
        { name: 'two', share: 1 },
      ],
      next: async ({ sites }) => ({ sites: new Map(sites.map(({ target, p }) => [target.path, { train: { ...p } }])) }),
    });
    expect(await goesOn(method, 'BACKEND_UNAVAILABLE')).toEqual([3, 4]);
  });

  it('is not lost between the program of a step that is observed and that of the others', async () => {
    const method = inPlace({
      observe: { at: ({ step }) => step === 3, values: ({ dW }) => ({ g: dW }) },
    });
    expect(await goesOn(method, 'CANCELLED')).toEqual([3, 4]);
  });

  it('is refused when the method chooses other indices than at the beginning', async () => {
    let chosen = 1;
    const method = inPlace({
      init: (target) => ({
        ...start(target),
        frozen: { at: { dtype: 'i64', shape: [1], data: BigInt64Array.of(BigInt(chosen)) } },
      }),
    });
    const checkpoint = { directory, every: 2 };
    await ran(method, { checkpoint });
    await ran(method, { checkpoint, resume: true });
    chosen = 2;
    await expectPeftError(
      () => ran(method, { checkpoint, resume: true }),
      ['CHECKPOINT_MISMATCH'],
      ['other ranks or indices', 'threads'],
    );
  });

  it('a stop that a method asks for outlasts the evaluation after it', async () => {
    const method = inPlace({ onStep: async ({ clock }) => ({ stop: clock.step === 2 }) });
    const { events } = await ran(method, { evalData: tinyRows(), evalEvery: 1, lr: 1e-7 });
    expect(events.filter(({ type }) => type === 'step')).toHaveLength(2);
  });

  it('a metric that is no number is never the best', () => {
    const before = {
      ...{ step: 4, settled: false, stopped: false, stale: 0, phase: 0 },
      epochLoss: { sum: 0, updates: 0 },
    };
    const { task } = tinyModel();
    const judged = judge({ accuracy: Number.NaN }, task, before);
    expect(judged).toEqual({ improved: false, progress: { ...before, stale: 1 } });
    expect(judge({ accuracy: 0.5 }, task, judged.progress).progress.best).toEqual({ step: 4, metric: 0.5 });
  });

  it('an additive method may change weights in place, and trains as one with a branch', async () => {
    const branch = inPlace({
      delta: ({ p }) => p.d!,
      weight: ({ W }) => W,
    });
    const [one, other] = [await changeOf((await ran(inPlace())).adapter), await changeOf((await ran(branch)).adapter)];
    one.forEach((x, i) => {
      expect(x).toBeCloseTo(other[i]!, 6);
    });
    expect(one.some((x) => x !== 0)).toBe(true);
  });

  it("an optimizer that a method brings sees the target's other tensors", async () => {
    const towards = defineOptimizer({
      spec: 'v1',
      name: 'towards-test',
      paper: 'https://example.org',
      config: z.strictObject({}),
      elementwise: false,
      init: () => ({}),
      scalars: ({ rate }) => ({ rate }),
      update: ({ p, beside, scalars }, _, ops) => ({
        p: ops.add(p, ops.mul(ops.sub(beside!.goal!, p), scalars.rate!)),
        state: {},
      }),
    })();
    const method = inPlace({
      init: (target) => ({ ...start(target), held: { goal: filled(target, 1) } }),
      rule: () => ({ optimizer: towards }),
    });
    for (const gradAccumulation of [1, 2]) {
      const batchSize = 12 / gradAccumulation;
      const { adapter } = await ran(method, { lr: 0.5, steps: 2, gradAccumulation, batchSize });
      expect(new Set(await changeOf(adapter))).toEqual(new Set([0.75]));
    }
  });

  it('a penalty is given what the run began with, in every phase', async () => {
    const method = inPlace({
      phases: () => [
        { name: 'one', share: 1 },
        { name: 'two', share: 1 },
      ],
      next: async ({ sites }) => ({ sites: new Map(sites.map(({ target, p }) => [target.path, { train: { ...p } }])) }),
      penalty: ({ replaced }, ops) =>
        replaced
          .map(({ value, start: from }) => {
            const moved = ops.sub(value, ops.constant(from));
            return ops.sum(ops.mul(moved, moved), [...value.shape.keys()], { keepdims: false });
          })
          .reduce((a, b) => ops.add(a, b)),
    });
    const { events } = await ran(method, { modulesToSave: ['head'], steps: 4 });
    const penalties = events.flatMap((event) => (event.type === 'step' ? [event.penalty!] : []));
    expect(penalties[0]).toBe(0);
    expect(penalties[2]).toBeGreaterThan(penalties[1]!);
  });

  it('the best of a run has the held tensors of its evaluation', async () => {
    // It counts the steps, so that the adapter says when it was kept.
    const method = inPlace({
      init: (target) => ({ ...start(target), held: { step: f32([1], [0]) } }),
      onStep: async ({ clock, sites }) => ({
        set: new Map(sites.map(({ target }) => [`${target.path}:step`, f32([1], [clock.step])])),
      }),
      toDelta: ({ p, target }) => ({ weight: denseTerm(tensorRef(filled(target, p.step!.data[0] as number))) }),
    });
    // Too slow to get better: the first evaluation stays the best.
    const kept = { evalData: tinyRows(), evalEvery: 1, keepBest: true, lr: 1e-7, steps: 3 };
    const { adapter, events } = await ran(method, kept);
    const accuracy = events.flatMap((event) => (event.type === 'eval' ? [event.metrics.accuracy!] : []));
    expect(new Set(accuracy).size).toBe(1);
    expect(new Set(await changeOf(adapter))).toEqual(new Set([1]));
  });
});
