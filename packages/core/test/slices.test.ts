import { expect, it } from 'vitest';
import { expectClose } from '../../testkit/src/index.js';
import { adamw, createGraph, createOps, createRandom, type Optimizer, type Tensor } from '../src/index.js';
import { planSteps } from '../src/train/plan.js';
import { slicedUpdater } from '../src/train/slices.js';
import { accumulatorName, type StepOptions, type TrainingGraph } from '../src/train/step-graph.js';
import { wholeUpdater } from '../src/train/updater.js';
import { roundedBackend } from './support/rounded.js';

/** A model whose gradient is its parameters: loss = Σ p² / 2. */
function squares(shapes: Readonly<Record<string, readonly number[]>>): TrainingGraph {
  const graph = createGraph('squares');
  const ops = createOps(graph);
  const trainables = Object.entries(shapes).map(([name, shape]) => {
    const value = ops.input(name, 'f32', shape);
    return { name, value, shape, rule: {} };
  });
  const parts = trainables.map(({ value, shape }) =>
    ops.sum(
      ops.mul(ops.mul(value, value), 0.5),
      shape.map((_, axis) => axis),
      { keepdims: false },
    ),
  );
  return { graph, loss: parts.reduce((a, b) => ops.add(a, b)), trainables };
}

const shapes = { w: [4001], v: [3, 7] };
const sliceLength = 1000;
const options = (optimizer: Optimizer): StepOptions => ({
  groups: [
    { lr: 0.01, decay: 0.1, optimizer },
    { lr: 0.2, decay: 0, optimizer },
  ],
  groupOf: [0, 1],
  maxGradNorm: 0.5,
});
const random = createRandom(3);
const start = new Map<string, Tensor>(
  Object.entries(shapes).map(([name, shape]) => [name, random.fork(name).normal(shape)]),
);

it('an update in slices is the update of whole tensors', async () => {
  const o = options(adamw());
  const results: ReadonlyMap<string, Tensor>[] = [];
  for (const length of [undefined, sliceLength]) {
    const plan = length ? slicedUpdater(squares(shapes), o, length) : wholeUpdater(squares(shapes), o);
    const updater = await plan.compile(roundedBackend());
    await updater.write(new Map([...start, ...plan.state]));
    for (let step = 1; step <= 2; step++) {
      const gradients = Object.entries(shapes).map(([name, shape]) => [
        accumulatorName(name),
        random.fork(name, step).normal(shape),
      ]);
      const { gradNorm } = await updater.apply(Object.fromEntries(gradients), { step, factor: 0.5 });
      expect(gradNorm).toBeGreaterThan(50); // ≈ √4022
    }
    results.push(await updater.read([...start.keys(), ...plan.state.keys()]));
    await updater.dispose();
  }
  expect([...results[1]!.keys()]).toEqual(['w', 'v', 'w:m', 'w:v', 'v:m', 'v:v']);
  for (const [name, whole] of results[0]!) expectClose(name, results[1]!.get(name)!, whole, { relToMax: 1e-6 });
});

it('many trainables are updated in slices where the optimizer allows it, with the same result', async () => {
  const many = { w: [400, 5] };
  const point = random.normal(many.w, 0, 1);
  const after: Tensor[] = [];
  for (const optimizer of [adamw(), { ...adamw(), elementwise: false }]) {
    const o = { groups: [{ lr: 0.1, decay: 0, optimizer }], groupOf: [0], gradAccumulation: 1 };
    const plan = planSteps(squares(many), o, 1999);
    const stepper = await plan.compile(roundedBackend());
    await stepper.write(new Map([['w', point], ...plan.state]));
    const { loss } = await stepper.update([() => ({})], { step: 1, factor: 1 });
    expect(Math.abs(loss / 1000 - 1)).toBeLessThan(0.1); // half the sum of 2000 squares of variance 1: ± 0.03
    after.push((await stepper.read(['w'])).get('w')!);
    await stepper.dispose();
  }
  expectClose('w', after[0]!, after[1]!, { relToMax: 1e-6 });
});
