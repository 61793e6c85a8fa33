import { describe, expect, it } from 'vitest';
import { lora } from '../../lora/src/index.js';
import { compare, referenceBackend, tinyModel, tinyRows } from '../../testkit/src/index.js';
import {
  type Adapter,
  attachDelta,
  contentDigest,
  denseTerm,
  f32,
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

  it('is a second time what it is once', async () => {
    const [model, one, two] = [tinyModel(), await change(0.1), await change(0.2)];
    const a = await loss(stack(stack(model, [one]), [two]));
    const found = compare(f32([1], [a]), f32([1], [await loss(stack(model, [one, two]))]), { absolute: 0 });
    expect(found.close, found.message).toBe(true);
  });
});
