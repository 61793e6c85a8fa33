import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { referenceBackend, tinyModel, tinyRows } from '../../testkit/src/index.js';
import {
  type Adapter,
  defineMethod,
  defineOptimizer,
  denseTerm,
  f32,
  type Initial,
  type Method,
  sgd,
  type Target,
  type TrainEvent,
  type TrainOptions,
  tensorRef,
  toF32,
  train,
} from '../src/index.js';

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

describe('the state of a run', () => {
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
