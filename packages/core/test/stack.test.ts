import { describe, expect, it } from 'vitest';
import { lora } from '../../lora/src/index.js';
import { compare, referenceBackend, tinyModel, tinyRows } from '../../testkit/src/index.js';
import { memorySource } from '../src/files/index.js';
import {
  type Adapter,
  attachDelta,
  contentDigest,
  denseTerm,
  encodeAdapter,
  evaluate,
  f32,
  readAdapter,
  stack,
  sum,
  type TaskModel,
  tensorRef,
  train,
} from '../src/index.js';

const path = 'model.layers.0.up.weight';

async function change(value: number, at = path): Promise<Adapter> {
  const shape = tinyModel().parameters.get(path)!.shape;
  const term = denseTerm(tensorRef(f32(shape, new Float32Array(shape[0]! * shape[1]!).fill(value))));
  const content = { delta: { shape: new Map([[at, shape]]), params: new Map([[at, [term]]]) }, replaced: new Map() };
  return { ...content, digest: await contentDigest(content) };
}

async function loss(model: TaskModel, adapter?: Adapter): Promise<number> {
  const form = model.graph('train');
  const { graph } = adapter ? await attachDelta(form, adapter, { parameters: model.parameters }) : form;
  const program = await referenceBackend().compile(graph);
  const examples = tinyRows().map((row, i) => tinyModel().task.encode(row, i));
  const { feeds } = tinyModel().task.batch(examples, [...examples.keys()]);
  const outputs = await program.run({ ...feeds, loss_weight: f32([], [1 / examples.length]) });
  return Number(outputs.loss!.data[0]);
}

const trained = (model: TaskModel<never>) =>
  train(model, {
    method: lora({ r: 2, targetModules: ['up', 'down'] }),
    data: tinyRows(),
    backend: referenceBackend(),
    lr: 0.05,
    steps: 6,
  }).result();

describe('stack', () => {
  it('trains on top of frozen adapters; what comes out adds to them', async () => {
    const [model, frozen] = [tinyModel(), await change(0.1)];
    const on = stack(model, [frozen]);
    expect(await loss(on)).toBeCloseTo(await loss(model, frozen), 6);
    const adapter = await trained(on as TaskModel<never>);
    const together = await loss(model, sum(frozen, adapter));
    expect(together).toBeCloseTo(await loss(on, adapter), 5);
    expect(together).toBeLessThan(await loss(on));
    const alone = await trained(model as unknown as TaskModel<never>);
    expect(alone.digest).not.toBe(adapter.digest);
    expect(on.stacked).toEqual([frozen.digest]);
  });

  it('leaves the base as it is, and refuses what does not fit', async () => {
    const model = tinyModel();
    const before = await loss(model);
    stack(model, [await change(1)]);
    expect(await loss(model)).toBe(before);
    const stranger = await change(1, 'model.other.weight');
    expect(() => stack(model, [stranger])).toThrow(/no parameters model.other.weight/);
  });

  it('gives a head to the adapter that was trained last', async () => {
    const model = tinyModel() as unknown as TaskModel<never>;
    const method = lora({ r: 2, targetModules: ['up'], modulesToSave: ['head'] });
    const options = { method, data: tinyRows(), backend: referenceBackend(), lr: 0.05, steps: 3 };
    const first = await train(model, options).result();
    const on = stack(model, [first]);
    const second = await train(on, options).result();
    expect(second.on).toEqual([first.digest]);
    const { files } = await encodeAdapter(second);
    const source = (name: string) => memorySource(files.get(name)!, name);
    const [config, weights] = [source('adapter_config.json'), source('adapter_model.safetensors')];
    const read = await readAdapter({ config, weights, sidecar: source('peftjs.json') });
    expect(read.on).toEqual([first.digest]);

    const trained = await loss(on, second);
    for (const both of [sum(first, read), sum(read, first)]) expect(await loss(model, both)).toBeCloseTo(trained, 5);
    expect(await loss(stack(model, [first, second]))).toBeCloseTo(trained, 5);
    const { on: _, ...stranger } = second;
    expect(() => sum(first, stranger)).toThrow(/"head.weight" is replaced in full/);
    expect(() => stack(model, [first, stranger])).toThrow(/"head.weight" is replaced in full/);
    await expect(loss(on, stranger)).rejects.toThrow(/"head.weight" is replaced in full/);
  });

  it('drops what a replacement on top of it has taken in', async () => {
    const [lower, path] = [await change(0.1), 'model.layers.0.up.weight'];
    const full = tensorRef(f32([8, 6], new Float32Array(48).fill(0.2)));
    const nothing = { shape: new Map(), params: new Map() };
    const upper: Adapter = { delta: nothing, replaced: new Map([[path, full]]), digest: 'upper', on: [lower.digest] };
    const both = sum(lower, upper);
    expect([both.delta.params.size, both.replaced.get(path)]).toEqual([0, full]);
    const attached = await attachDelta(tinyModel().graph('predict'), lower);
    await expect(attachDelta(attached, upper)).rejects.toMatchObject({ code: 'DELTA_CONFLICT' });
  });

  it('refuses adapters of another base where its weights are looked at', async () => {
    const model = tinyModel() as unknown as TaskModel<never>;
    const digest = await model.digest();
    const mine = { ...(await change(0.1)), base: { digest } };
    const other = { ...mine, base: { name: 'other', digest: 'sha256:other' } };
    const mismatch = { code: 'ADAPTER_MISMATCH', message: expect.stringContaining(digest) };
    const data = { data: tinyRows(), backend: referenceBackend() };
    await expect(evaluate(model, { ...data, adapter: other })).rejects.toMatchObject(mismatch);
    await expect(evaluate(stack(model, [other]), data)).rejects.toMatchObject(mismatch);
    await expect(trained(stack(model, [other]))).rejects.toMatchObject(mismatch);
    const start = { ...(await trained(model)), base: other.base };
    const method = lora({ r: 2, targetModules: ['up', 'down'] });
    const on = train(model, { ...data, method, lr: 0.05, steps: 1, start }).result();
    await expect(on).rejects.toMatchObject(mismatch);
    await evaluate(stack(model, [mine]), { ...data, adapter: mine });
  });

  it('is a second time what it is once', async () => {
    const [model, one, two] = [tinyModel(), await change(0.1), await change(0.2)];
    const a = await loss(stack(stack(model, [one]), [two]));
    const found = compare(f32([1], [a]), f32([1], [await loss(stack(model, [one, two]))]), { absolute: 0 });
    expect(found.close, found.message).toBe(true);
  });
});
