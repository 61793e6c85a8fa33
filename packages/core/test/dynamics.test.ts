import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { compare, countingBackend, referenceBackend, tinyModel, tinyRows } from '../../testkit/src/index.js';
import {
  type Adapter,
  adamw,
  createRandom,
  defineMethod,
  denseTerm,
  f32,
  type Initial,
  type Method,
  type MethodFunction,
  sgd,
  type Target,
  type Tensor,
  type TrainEvent,
  type TrainOptions,
  tensorRef,
  toF32,
  train,
} from '../src/index.js';

const Config = z.strictObject({ rate: z.number().default(1) });
type C = z.output<typeof Config>;

const path = 'model.layers.0.up';
const zeros = (target: Target): Tensor => f32([target.out, target.in], new Float32Array(target.out * target.in));
const start = (target: Target): Initial => ({ train: { d: zeros(target) } });

/** W + D with a dense D: the simplest method there is, for what moves in a run. */
const dense = (parts: Partial<Method<typeof Config, C>>): MethodFunction<typeof Config> =>
  defineMethod<typeof Config>({
    spec: 'v1',
    name: 'dense-test',
    paper: 'https://example.org',
    layout: 'LORA',
    additive: true,
    kinds: ['linear'],
    config: Config,
    init: start,
    delta: ({ p }) => p.d!,
    apply: ({ x, p }, ops) => ops.gemm(x, p.d!, undefined, { transB: true }),
    toDelta: ({ p }) => ({ weight: denseTerm(tensorRef(p.d!)) }),
    size: (target) => target.in * target.out,
    ...parts,
  });

interface Ran {
  readonly events: readonly TrainEvent[];
  readonly adapter: Adapter;
  readonly d: Float32Array;
}

async function ran(method: MethodFunction<typeof Config>, more: Partial<TrainOptions> = {}): Promise<Ran> {
  const run = train(tinyModel(), {
    method: method({ targetModules: ['up'] }),
    data: tinyRows(),
    backend: referenceBackend(),
    optimizer: sgd(),
    schedule: 'constant',
    lr: 0.1,
    steps: 4,
    batchSize: 12,
    ...more,
  } as TrainOptions);
  const events: TrainEvent[] = [];
  for await (const event of run) events.push(event);
  const adapter = await run.result();
  const term = adapter.delta.params.get(`${path}.weight`)?.[0];
  const d = term ? (toF32(await term.tensors.delta!.read()).data as Float32Array) : new Float32Array();
  return { events, adapter, d };
}

const losses = ({ events }: Ran) => events.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
const close = (got: Float32Array, want: Float32Array, tolerance = 1e-6) => {
  const found = compare(f32([got.length], got), f32([want.length], want), { relToMax: tolerance });
  expect(found.close, found.message).toBe(true);
};

describe('what a method may do in a run', () => {
  it('phases without next go on and begin the schedule again', async () => {
    const plain = await ran(dense({}), { optimizer: adamw(), schedule: 'constant' });
    const phases = () => [
      { name: 'one', share: 1 },
      { name: 'two', share: 1 },
    ];
    const two = await ran(dense({ phases }), { optimizer: adamw(), schedule: 'constant' });
    close(two.d, plain.d, 0);
    const linear = await ran(dense({ phases }), { schedule: 'linear' });
    const rates = linear.events.flatMap((event) => (event.type === 'step' ? [event.lr] : []));
    expect(rates).toEqual([0.1, 0.05, 0.1, 0.05]);
    expect(linear.events.filter(({ type }) => type === 'phase')).toEqual([{ type: 'phase', step: 2, phase: 'two' }]);
  });

  it('next gives new tensors; what a phase left is handed over, and a target may be left out', async () => {
    const seen: unknown[] = [];
    const method = dense({
      phases: () => [
        { name: 'a', share: 3 },
        { name: 'b', share: 1 },
      ],
      async next({ phase, sites, kept, replaced }) {
        seen.push([phase, sites.map(({ target }) => target.path), kept.size, replaced.size]);
        const { target, p } = sites[0]!;
        return {
          sites: new Map([[target.path, { train: { d: zeros(target) }, frozen: { before: p.d! } }]]),
          kept: new Map([['mark', f32([], [1])]]),
        };
      },
      delta: ({ p }, ops) => (p.before ? ops.add(p.d!, p.before) : p.d!),
      apply: undefined as never,
      toDelta: ({ p }) => ({ weight: [p.before, p.d].flatMap((t) => (t ? [denseTerm(tensorRef(t))] : [])) }),
    });
    const plain = await ran(dense({}));
    const { adapter } = await ran(method);
    expect(seen).toEqual([[1, [path], 0, 0]]);
    const terms = await Promise.all(
      adapter.delta.params.get(`${path}.weight`)!.map(async (term) => toF32(await term.tensors.delta!.read()).data),
    );
    close(
      terms[0]!.map((x, i) => x + terms[1]![i]!),
      plain.d,
    );
  });

  it('held tensors and scalars enter the graph, and onStep sets tensors and ends a phase', async () => {
    const method = dense({
      init: (target) => ({ ...start(target), held: { k: f32([], [1]) } }),
      scalars: ({ step }) => ({ factor: step }),
      delta: undefined as never,
      additive: false,
      weight: ({ W, name, p, s }, ops) => (name === 'weight' ? ops.add(W, ops.mul(p.d!, ops.mul(p.k!, s.factor!))) : W),
      async onStep({ clock, read }) {
        const d = (await read([`${path}:d`])).get(`${path}:d`)!;
        const set = new Map([
          [`${path}:k`, f32([], [clock.step + 1])],
          [`${path}:d`, zeros({ in: d.shape[1]!, out: d.shape[0]! } as Target)],
        ]);
        return { set, stop: clock.step === 3, note: `step ${clock.step}` };
      },
      apply: undefined as never,
    });
    const run = await ran(method);
    expect(losses(run)).toHaveLength(3);
    expect(new Set(losses(run)).size).toBe(1); // D is set back to zero after every step
    expect(run.d.every((x) => x === 0)).toBe(true);
  });

  it('targets that are not active keep their tensors and state', async () => {
    const active = ({ clock }: { clock: { step: number } }) => new Set(clock.step <= 2 ? [path] : []);
    const two = await ran(dense({}), { steps: 2, optimizer: adamw() });
    const four = await ran(dense({ active }), { optimizer: adamw() });
    close(four.d, two.d, 0);
  });

  it('tries losses on other rows at every call, or on the same ones where it asks for them', async () => {
    const seen: number[] = [];
    const method = dense({
      async onStep({ clock, loss }) {
        if (clock.step === 1)
          for (const draw of [undefined, undefined, 0, 0, 1]) seen.push(await loss(2, new Map(), draw));
        return undefined;
      },
    });
    await ran(method, { steps: 2 });
    expect(seen[3]).toBe(seen[2]);
    expect(new Set(seen).size).toBe(4);
  });

  it('observe sees the gradient at the weight, only at its steps, with one program at a time', async () => {
    const seen: [number, number][] = [];
    const open: number[] = [];
    const backend = countingBackend(await referenceBackend());
    const method = dense({
      observe: { at: ({ step }) => step === 2, values: ({ dW }) => ({ g: dW }) },
      async onStep({ clock, observed }) {
        seen.push([clock.step, observed.size]);
        open.push(backend.open().length);
        return undefined;
      },
    });
    const watched = await ran(method, { backend });
    expect(seen).toEqual([
      [1, 0],
      [2, 1],
      [3, 0],
      [4, 0],
    ]);
    expect(open).toEqual([1, 1, 1, 1]);
    close(watched.d, (await ran(dense({}))).d);
  });

  it('observe without `at` sees every step, in the program of the step', async () => {
    const seen: number[] = [];
    const backend = countingBackend(await referenceBackend());
    const method = dense({
      observe: { values: ({ dW }) => ({ g: dW }) },
      async onStep({ observed }) {
        seen.push(observed.size);
        return undefined;
      },
    });
    const watched = await ran(method, { backend });
    expect(seen).toEqual([1, 1, 1, 1]);
    expect(backend.compiled()).toBe(1);
    close(watched.d, (await ran(dense({}))).d);
  });

  it('observe sees the gradient of a whole update, in micro-batches too', async () => {
    const gradient = async (more: Partial<TrainOptions>) => {
      let seen: Tensor | undefined;
      const method = dense({
        observe: { values: ({ dW }) => ({ g: dW }) },
        async onStep({ observed }) {
          seen = observed.get(`${path}:g`);
          return undefined;
        },
      });
      await ran(method, { steps: 1, ...more });
      return seen!.data as Float32Array;
    };
    // 1e-5: sums of micro-batches round otherwise.
    close(await gradient({ batchSize: 4, gradAccumulation: 3 }), await gradient({}), 1e-5);
  });

  it('a penalty enters the gradient and is reported; prox follows the optimizer with the scheduled rate', async () => {
    // d/dD of ½ · decay · Σ D² is what weight decay adds to the gradient under sgd.
    const penalty: Method<typeof Config>['penalty'] = ({ sites }, ops) => {
      const { d } = sites[0]!.p;
      return ops.mul(ops.sum(ops.mul(d!, d!), [0, 1], { keepdims: false }), 0.05);
    };
    const decayed = await ran(dense({}), { weightDecay: 0.1 });
    const penalised = await ran(dense({ penalty }));
    close(penalised.d, decayed.d);
    const steps = penalised.events.flatMap((event) => (event.type === 'step' ? [event] : []));
    expect(steps[0]!.penalty).toBe(0);
    expect(steps[3]!.penalty).toBeGreaterThan(0);
    const accumulated = await ran(dense({ penalty }), { batchSize: 4, gradAccumulation: 3 });
    close(accumulated.d, decayed.d, 1e-5); // sums of micro-batches round otherwise
    const shrunk = await ran(dense({ prox: ({ next, rate }, ops) => ops.sub(next, rate) }), { steps: 1 });
    const plain = await ran(dense({}), { steps: 1 });
    close(
      shrunk.d,
      plain.d.map((x) => x - 0.1),
      1e-6,
    );
  });

  it('streamed tensors are expanded before a step and pulled back after it', async () => {
    const basis = (target: Target) =>
      createRandom(5)
        .fork(target.path)
        .normal([2, target.out * target.in]);
    const stream: Method<typeof Config>['stream'] = {
      expand({ target, p }) {
        const [b, alpha] = [basis(target).data as Float32Array, p.alpha!.data as Float32Array];
        const n = target.in * target.out;
        return {
          d: f32(
            [target.out, target.in],
            Float32Array.from({ length: n }, (_, i) => alpha[0]! * b[i]! + alpha[1]! * b[n + i]!),
          ),
        };
      },
      pullBack({ target, d }) {
        const [b, g] = [basis(target).data as Float32Array, d.d!.data as Float32Array];
        const dot = (k: number) => g.reduce((sum, x, i) => sum + x * b[k * g.length + i]!, 0);
        return { alpha: f32([2], [dot(0), dot(1)]) };
      },
    };
    const init = () => ({ train: { alpha: f32([2], [0, 0]) } });
    const toDelta: Method<typeof Config>['toDelta'] = (site) => ({
      weight: denseTerm(tensorRef(stream.expand(site).d!)),
    });
    const streamed = await ran(dense({ stream, init, toDelta, size: () => 2 }), {
      evalData: tinyRows(),
      evalEvery: 2,
    } as never);
    // The same coefficients with the basis in the graph.
    const inside = await ran(
      dense({
        init: (target) => ({ ...init(), frozen: { b: basis(target) } }),
        apply: undefined as never,
        delta: ({ p, target }, ops) =>
          ops.reshape(ops.matmul(ops.reshape(p.alpha!, [1, 2]), p.b!), [target.out, target.in]),
        toDelta,
        size: () => 2,
      }),
    );
    close(streamed.d, inside.d, 1e-5); // float32 sums in another order
    expect(losses(streamed)[3]).toBeLessThan(losses(streamed)[0]!);
  });

  it('forward steps follow the slope along their direction', async () => {
    const method = dense({
      forward: { epsilon: () => 1e-3, direction: ({ p, name, rng }) => rng.normal(p[name]!.shape) },
    });
    const run = await ran(method, { steps: 60, lr: 0.02 });
    expect(losses(run).at(-1)).toBeLessThan(losses(run)[0]!);
  });

  it('refuses what says nothing, and dropout without a branch', async () => {
    expect(() => dense({ delta: undefined as never })).toThrow(/needs delta/);
    const weighted = dense({
      additive: false,
      delta: undefined as never,
      apply: undefined as never,
      weight: ({ W, p, name }, ops) => (name === 'weight' ? ops.add(W, p.d!) : W),
    });
    await expect(ran(weighted, { method: weighted({ targetModules: ['up'], dropout: 0.1 }) } as never)).rejects.toThrow(
      /dropout has no place/,
    );
    close((await ran(weighted)).d, (await ran(dense({}))).d);
  });
});
