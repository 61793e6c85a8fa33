import { join } from 'node:path';
import { elementCount, type Tensor, tensor } from '@peftjs/core';
import { adapt, adapterOf, type CaseOptimizer, fileTensors, openAdapter, stepsOf } from '../adapted.js';
import { type Base, feedsOf, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext, Tensors } from '../case.js';
import { createChecks } from '../checks.js';

interface AccumulationRecord extends CaseRecord {
  readonly optimizer: CaseOptimizer;
  readonly micro_batches: readonly number[];
  readonly labels_per_micro_batch: readonly number[];
}

const rowsOf = (inputs: Tensors, from: number, to: number): Map<string, Tensor> =>
  new Map(
    [...inputs].map(([name, { dtype, shape, data }]) => {
      const width = elementCount(shape.slice(1));
      return [name, { dtype, shape: [to - from, ...shape.slice(1)], data: data.slice(from * width, to * width) }];
    }),
  );

type Feeds = Record<string, Tensor>;

/** The ways to cut one batch and to weigh its parts, by the name of their results. */
function waysOf({ micro_batches, labels_per_micro_batch: labels }: AccumulationRecord, base: Base, inputs: Tensors) {
  const total = labels.reduce((a, b) => a + b);
  const feeds = (part: Tensors, weight: number): Feeds => ({
    ...feedsOf(base, part),
    loss_weight: tensor('f32', [], Float32Array.of(weight)),
  });
  let from = 0;
  const parts = micro_batches.map((rows) => {
    const part = rowsOf(inputs, from, from + rows);
    from += rows;
    return part;
  });
  return {
    full: [feeds(inputs, 1 / total)],
    token_mean: parts.map((part) => feeds(part, 1 / total)),
    micro_mean: parts.map((part, i) => feeds(part, 1 / (parts.length * labels[i]!))),
  };
}

/** Unequal micro-batches: one weight for all labels must equal the whole batch; a mean of means differs as expected. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const record = folder.record as AccumulationRecord;
  const { optimizer } = record;
  const base = await openBase(folder);
  const adapter = await openAdapter(base, join(folder.path, 'adapter_start'));
  const checks = createChecks(folder);
  for (const [way, batches] of Object.entries(waysOf(record, base, folder.inputs))) {
    const adapted = await adapt(base, adapter, optimizer);
    const run = async (given: CaseOptimizer) => {
      const { steps, attached } = stepsOf(adapted, given, batches.length);
      const stepper = await steps.compile(backend);
      await stepper.write(new Map([...adapted.start.train, ...steps.state]));
      const losses: number[] = [];
      const turns = batches.map((feeds) => () => feeds);
      for (let step = 1; step <= given.steps; step++) {
        losses.push((await stepper.update(turns, { step, factor: 1 })).loss);
      }
      const trained = await stepper.read(attached.trainables.map(({ name }) => name));
      await stepper.dispose();
      return { losses, trained };
    };
    // One step of plain descent at rate 1 moves every parameter by its gradient.
    const moved = await run({ type: 'SGD', lr: 1, steps: 1 });
    const slopes = new Map(
      [...moved.trained].map(([name, t]) => {
        const before = adapted.start.train.get(name)!.data as Float32Array;
        return [name, { ...t, data: (t.data as Float32Array).map((v, i) => before[i]! - v) }];
      }),
    );
    const { losses, trained } = await run(optimizer);
    const results = {
      grad: await fileTensors(await adapterOf(adapted, slopes), adapted.plan),
      final: await fileTensors(await adapterOf(adapted, trained), adapted.plan),
    };
    for (const [what, tensors] of Object.entries(results)) {
      for (const [key, value] of tensors) checks.tensor(`${way}/${what}/${key}`, value);
    }
    checks.tensor(`${way}/loss_steps`, tensor('f32', [losses.length], Float32Array.from(losses)));
  }
  checks.done();
}
