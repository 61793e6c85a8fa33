import { describe, expect, it, vi } from 'vitest';
import { countingBackend, expectClose, expectPeftError, referenceBackend } from '../../testkit/src/index.js';
import {
  type Adapter,
  adafactor,
  defineMethod,
  dropoutMask,
  evaluate,
  type Run,
  sgd,
  TrainEvent,
  type TrainOptions,
  train,
} from '../src/index.js';
import { tinyLora, tinyModel, tinyRows } from './support/tiny-model.js';

const backend = referenceBackend();
const method = tinyLora({ targetModules: ['up'] });
const basic: TrainOptions = { method, data: tinyRows(40), backend, lr: 0.05, epochs: 2, batchSize: 8 };

/** The whole run: its events and what it made. */
async function drain(run: Run<TrainEvent, Adapter>) {
  const events: TrainEvent[] = [];
  for await (const event of run) events.push(event);
  const of = <T extends TrainEvent['type']>(type: T) =>
    events.filter((event): event is Extract<TrainEvent, { type: T }> => event.type === type);
  return { events, of, adapter: await run.result() };
}

const go = (options: Partial<TrainOptions> = {}) => drain(train(tinyModel(), { ...basic, ...options }));

/** Trained numbers by name: the factors of the target and what was trained in full. */
async function numbers({ delta, replaced }: Adapter) {
  const tensors = new Map(replaced);
  for (const [path, [term]] of delta.params)
    for (const [name, ref] of Object.entries(term!.tensors)) tensors.set(`${path}:${name}`, ref);
  return new Map(await Promise.all([...tensors].map(async ([name, ref]) => [name, await ref.read()] as const)));
}

async function expectSame(got: Adapter, expected: Adapter, relToMax: number): Promise<void> {
  const [a, b] = [await numbers(got), await numbers(expected)];
  expect([...a.keys()]).toEqual([...b.keys()]);
  for (const [name, tensor] of a) expectClose(name, tensor, b.get(name)!, { relToMax });
}

describe('train', () => {
  it('learns, and says what happens', async () => {
    const { events, of, adapter } = await go({ evalData: tinyRows(20, 9), maxGradNorm: 1, warmupRatio: 0.2 });
    for (const event of events) expect(TrainEvent.parse(event)).toEqual(event);
    // 155 numbers; LoRA of rank 2 on 6 -> 8: 2 (6 + 8), and the head: 3 · 8 + 3
    expect(events[0]).toMatchObject({ type: 'start', parameters: 155, trainable: 55, trainableAdapter: 28, steps: 10 });
    expect(of('step').map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(
      of('step')
        .slice(0, 3)
        .map(({ lr }) => lr),
    ).toEqual([0.025, 0.05, 0.05]);
    expect(of('epoch').map(({ step }) => step)).toEqual([5, 10]);
    expect(of('epoch')[1]!.loss).toBeLessThan(of('epoch')[0]!.loss);
    expect(of('eval').map(({ step }) => step)).toEqual([5, 10]);
    expect(adapter.method).toMatchObject({ name: 'tiny-lora' });
    expect(adapter.base).toEqual({ name: 'tiny', digest: 'tiny-1' });
    expect(adapter.task).toEqual({ name: 'words', labels: ['x', 'y', 'z'] });
    expect([...adapter.replaced.keys()]).toEqual(['classifier.weight', 'classifier.bias']);
  });

  it('measures during training what evaluate measures of the adapter, in any order of the rows', async () => {
    const evalData = tinyRows(20, 9);
    const { of, adapter } = await go({ evalData });
    const { loss, accuracy } = of('eval').at(-1)!.metrics;
    for (const data of [evalData, [...evalData].reverse()]) {
      const measured = await evaluate(tinyModel(), { adapter, data, backend, batchSize: 3 });
      expect(measured.accuracy).toBe(accuracy);
      expect(measured.loss).toBeCloseTo(loss!, 6); // float32 sums of another grouping
    }
    const base = await evaluate(tinyModel(), { data: evalData, backend });
    expect(base.loss).toBeGreaterThan(loss!);
  });

  it('gives the same bits for the same seed and others for another', async () => {
    const dropping = { method: tinyLora({ targetModules: ['up'], dropout: 0.3 }) };
    const [first, again, other] = [await go(dropping), await go(dropping), await go({ ...dropping, seed: 1 })];
    expect(again.adapter.digest).toBe(first.adapter.digest);
    expect(other.adapter.digest).not.toBe(first.adapter.digest);
    expect((await go()).adapter.digest).not.toBe(first.adapter.digest);
  });

  it('sums unequal micro-batches to exactly one batch, with clipping, decay and groups', async () => {
    const shared = {
      method: tinyLora({ targetModules: ['up'], dropout: 0.2, ratio: 8 }),
      data: tinyRows(22), // batches of 8, 8, 6; micro-batches of 2 with one left over
      weightDecay: 0.1,
      maxGradNorm: 0.3,
      epochs: 3,
    };
    const whole = await go(shared);
    const parts = await go({ ...shared, batchSize: 2, gradAccumulation: 4 });
    expect(parts.of('step')).toHaveLength(9);
    for (const [i, { loss, gradNorm, tokens }] of parts.of('step').entries()) {
      const other = whole.of('step')[i]!;
      expect(loss).toBeCloseTo(other.loss, 5); // float32 sums of another grouping, carried over nine updates
      expect(gradNorm).toBeCloseTo(other.gradNorm!, 5);
      expect(tokens).toBe(other.tokens);
    }
    await expectSame(parts.adapter, whole.adapter, 2e-5); // the same; AdamW divides rounding by small moments
  });

  it('changes gradients by the method in one program as in two', async () => {
    const corrected = { method: tinyLora({ targetModules: ['up'], corrected: true }), maxGradNorm: 0.3, epochs: 3 };
    const whole = await go(corrected);
    const parts = await go({ ...corrected, batchSize: 4, gradAccumulation: 2 });
    await expectSame(parts.adapter, whole.adapter, 2e-5); // the same; AdamW divides rounding by small moments
    const plain = await go({ maxGradNorm: 0.3, epochs: 3 });
    expect(plain.adapter.digest).not.toBe(whole.adapter.digest);
  });

  it('trains with an optimizer whose state has other shapes, and with one without state', async () => {
    for (const optimizer of [adafactor(), sgd()]) {
      const { of } = await go({ optimizer, lr: 0.3, epochs: 4 });
      expect(of('epoch').at(-1)!.loss).toBeLessThan(of('epoch')[0]!.loss);
      await expectSame((await go({ optimizer, gradAccumulation: 1 })).adapter, (await go({ optimizer })).adapter, 0);
    }
  });

  it('drops the short last batch, counts fractions of epochs, and takes rows from an async iterable', async () => {
    async function* rows() {
      yield* tinyRows(20);
    }
    const { of } = await go({ data: rows(), dropLast: true, epochs: 1.5 });
    expect(of('step')).toHaveLength(3);
    expect(of('epoch').map(({ step }) => step)).toEqual([2]);
    await expectPeftError(() => go({ data: tinyRows(5), dropLast: true }), ['CONFIG_INVALID'], ['smaller batches']);
  });

  it('stops early and keeps the best', async () => {
    const evalData = tinyRows(20, 9);
    const { of, adapter } = await go({
      ...{ evalData, lr: 3, schedule: 'constant', epochs: 30, evalEvery: 1 },
      ...{ earlyStopping: { patience: 4 }, keepBest: true },
    });
    const losses = of('eval').map(({ metrics }) => metrics.loss!);
    const best = losses.indexOf(Math.min(...losses));
    expect(losses).toHaveLength(best + 5);
    expect((await evaluate(tinyModel(), { adapter, data: evalData, backend })).loss).toBeCloseTo(losses[best]!, 6); // float32
  });

  it('trains on from an adapter', async () => {
    const { adapter, of } = await go({ epochs: 4 });
    const on = await go({ start: adapter, epochs: 1, lr: 1e-6 });
    expect(on.of('step')[0]!.loss).toBeLessThan(of('step')[0]!.loss);
    await expectSame(on.adapter, adapter, 1e-4); // five updates at a millionth
  });

  it('names the step at which the loss is lost', async () => {
    const run = train(tinyModel(), { ...basic, lr: 1e39, optimizer: sgd(), schedule: 'constant', epochs: 9 });
    const steps: number[] = [];
    const watch = async () => {
      for await (const event of run) if (event.type === 'step') steps.push(event.step);
    };
    const error = await expectPeftError(watch, ['TRAINING_DIVERGED'], ['the loss is NaN']);
    expect(error.details.step).toBe(steps.length + 1);
    await expect(run.result()).rejects.toBe(error);
  });

  it('refuses all wrong options at once', async () => {
    const wrong = { ...basic, lr: -1, steps: 3, batchSize: 0.5, optimiser: 'adam', schedule: 'fast', method: {} };
    const make = async () => train(tinyModel(), { ...wrong, earlyStopping: { patience: 1 }, resume: true } as never);
    const error = await expectPeftError(make, ['CONFIG_INVALID']);
    const text = (error.details.problems as string[]).join('\n');
    for (const name of ['lr', 'batchSize', 'optimiser', 'schedule: must be constant, linear', 'method'])
      expect(text).toContain(name);
    const together = async () =>
      train(tinyModel(), { ...basic, steps: 3, warmupRatio: 0.1, warmupSteps: 1, keepBest: true, resume: true });
    await expectPeftError(together, ['CONFIG_INVALID'], ['epochs', 'warmupSteps', 'keepBest', 'resume']);
  });

  it('lists the rows that cannot be used', async () => {
    const data = [...tinyRows(3), { text: '1', label: '8' }, { text: '2', label: 'q' }];
    const error = await expectPeftError(() => go({ data }), ['DATA_INVALID'], ['Row 3', 'Row 4']);
    expect(error.details.problems).toHaveLength(2);
    await expectPeftError(() => go({ data: [] }), ['DATA_INVALID'], ['no rows']);
  });

  it('hears a cancellation while it reads the data', async () => {
    const controller = new AbortController();
    const model = tinyModel();
    let encoded = 0;
    const encode: typeof model.task.encode = (row, index) => {
      if (++encoded === 5) controller.abort();
      return model.task.encode(row, index);
    };
    const run = train({ ...model, task: { ...model.task, encode } }, { ...basic, signal: controller.signal });
    await expectPeftError(() => run.result(), ['CANCELLED'], ['reading the training data']);
    expect(encoded).toBe(5);
  });

  it('hears a cancellation while a method looks at gradients, and releases what it looked with', async () => {
    const controller = new AbortController();
    const counted = countingBackend(backend);
    let seen = 0;
    const looking = defineMethod({
      ...method.method,
      async plan({ sites, gradients }) {
        for await (const _ of gradients(20)) if (++seen === 2) controller.abort();
        return new Map(sites.map(({ target }) => [target.path, {}]));
      },
    });
    const options = { ...basic, method: looking({ targetModules: ['up'] }), backend: counted };
    const run = train(tinyModel(), { ...options, signal: controller.signal });
    await expectPeftError(() => run.result(), ['CANCELLED'], ['looking at gradients']);
    expect([seen, counted.open()]).toEqual([2, []]);
  });

  it('says how far it is when preparing takes long, and hears who leaves then', async () => {
    let now = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (now += 300));
    try {
      const { of, events } = await go({ data: tinyRows(24), epochs: 1 });
      expect(of('prepare')[0]).toEqual({ type: 'prepare', what: 'reading the training data', done: 3, total: 24 });
      for (const event of events) expect(TrainEvent.parse(event)).toEqual(event);
      for await (const event of train(tinyModel(), basic)) if (event.type === 'prepare') break;
    } finally {
      clock.mockRestore();
    }
  });

  it('makes the masks of a micro-batch when its turn comes', async () => {
    const done: string[] = [];
    const model = tinyModel();
    const batch: typeof model.task.batch = (...given) => {
      const { rows, ...rest } = model.task.batch(...given);
      return {
        ...rest,
        get rows() {
          done.push('mask');
          return rows;
        },
      };
    };
    const logging: typeof backend = {
      ...backend,
      async compile(graph, options) {
        const program = await backend.compile(graph, options);
        return {
          ...program,
          async run(feeds, at) {
            done.push('run');
            return program.run(feeds, at);
          },
        };
      },
    };
    const dropping = { method: tinyLora({ targetModules: ['up'], dropout: 0.3 }), backend: logging };
    await train(
      { ...model, task: { ...model.task, batch } },
      { ...{ ...basic, epochs: undefined }, ...dropping, steps: 1, gradAccumulation: 3 },
    ).result();
    expect(done).toEqual(['mask', 'run', 'mask', 'run', 'mask', 'run', 'run']); // the update last
  });

  it('is cold, and stops when it is left or cancelled', async () => {
    let disposed = 0;
    let compiled = 0;
    const counting: typeof backend = {
      ...backend,
      async compile(graph, options) {
        compiled++;
        const program = await backend.compile(graph, options);
        return {
          ...program,
          async dispose() {
            disposed++;
            await program.dispose();
          },
        };
      },
    };
    const options = { ...basic, evalData: tinyRows(4), evalEvery: 1, backend: counting };
    train(tinyModel(), options);
    expect(compiled).toBe(0);
    for await (const event of train(tinyModel(), options)) if (event.type === 'eval') break;
    expect([compiled, disposed]).toEqual([2, 2]);
    const run = train(tinyModel(), { ...options, gradAccumulation: 2 });
    const cancelled = async () => {
      for await (const event of run) if (event.type === 'eval') run.cancel();
    };
    await expectPeftError(cancelled, ['CANCELLED'], ['after step 1']);
    expect([compiled, disposed]).toEqual([5, 5]);
  });
});

describe('dropout masks', () => {
  const input = { name: 'body.up:dropout', rows: 'batch*length', width: 19, p: 0.3 };
  const origins = (pairs: readonly (readonly [number, number])[]) => ({
    sample: Int32Array.from(pairs, ([sample]) => sample),
    token: Int32Array.from(pairs, ([, token]) => token),
  });
  const row = (mask: { readonly data: ArrayLike<number | bigint> }, at: number) =>
    Array.from(mask.data).slice(at * 19, (at + 1) * 19);

  it('follow a token wherever a batch puts it', () => {
    const one = dropoutMask(
      input,
      origins([
        [4, 0],
        [4, 1],
        [-1, -1],
        [9, 0],
      ]),
      5,
      2,
    );
    const two = dropoutMask(
      input,
      origins([
        [9, 0],
        [4, 1],
      ]),
      5,
      2,
    );
    expect(one.shape).toEqual([4, 19]);
    expect(row(one, 1)).toEqual(row(two, 1));
    expect(row(one, 3)).toEqual(row(two, 0));
    expect(row(one, 2)).toEqual(new Array(19).fill(0));
    expect(row(one, 0)).not.toEqual(row(one, 1));
  });

  it('differ by seed, update and target, and drop with probability p', () => {
    const rows = origins(Array.from({ length: 2000 }, (_, token) => [1, token] as const));
    const mask = dropoutMask(input, rows, 5, 2).data as Uint8Array;
    const kept = mask.reduce((sum, keep) => sum + keep, 0) / mask.length;
    expect(Math.abs(kept - 0.7)).toBeLessThan(0.01); // 38,000 draws: four standard errors
    for (const other of [
      dropoutMask(input, rows, 6, 2),
      dropoutMask(input, rows, 5, 3),
      dropoutMask({ ...input, name: 'body.down:dropout' }, rows, 5, 2),
    ]) {
      const agree = mask.reduce((sum, keep, i) => sum + (keep === other.data[i] ? 1 : 0), 0) / mask.length;
      expect(Math.abs(agree - 0.58)).toBeLessThan(0.012); // 0.7² + 0.3² when independent
    }
  });
});
