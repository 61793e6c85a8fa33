import type { Feeds } from '../backend/backend.js';
import { optimize } from '../graph/passes/optimize.js';
import { f32 } from '../tensor/refs.js';
import type { Tensor } from '../tensor/tensor.js';
import { scalarTensor } from './groups.js';
import { slicedUpdater } from './slices.js';
import {
  accumulateName,
  gradientGraph,
  lossName,
  observedName,
  penaltyWeightName,
  type StepOptions,
  type TrainingGraph,
} from './step-graph.js';
import { compileStep, feedsOf, numberOf, resultOf, type StepPlan, writeAll } from './stepper.js';
import type { Streams } from './streams.js';
import { wholeUpdater } from './updater.js';

type Observed = ReadonlyMap<string, Tensor>;

/**
 * What a method observes of `count` micro-batches, each of whose losses is its part of the update's: numbers add up, as
 * gradients do. Where every micro-batch chooses anew what is seen (its extent is known only then), the last one stands
 * for all.
 */
function together(before: Observed | undefined, now: Observed, count: number, adds: ReadonlySet<string>): Observed {
  if (!before) return now;
  const ofAll = (name: string, tensor: Tensor): Tensor => {
    if (tensor.dtype !== 'f32') return tensor;
    const sum = adds.has(observedName(name)) ? before.get(name)!.data : undefined;
    const numbers = (tensor.data as Float32Array).map((x, i) => (sum ? Number(sum[i]) + x : count * x));
    return f32(tensor.shape, numbers);
  };
  return new Map(Array.from(now, ([name, tensor]) => [name, ofAll(name, tensor)]));
}

/**
 * Gradients and update as two programs: for gradients summed over micro-batches, and for so many trainables that they
 * are updated in slices. Changes the graph of `training`.
 */
export function separateSteps(
  training: TrainingGraph,
  options: StepOptions & { readonly gradAccumulation: number; readonly sliced: boolean; readonly stream?: Streams },
): StepPlan {
  const updates = options.sliced ? slicedUpdater(training, options) : wholeUpdater(training, options);
  const step = gradientGraph(training, { accumulate: options.gradAccumulation > 1 });
  optimize(step.graph);
  const fixed = step.graph.outputs.filter(({ shape }) => shape?.every((extent) => typeof extent === 'number'));
  const adds = new Set(fixed.map(({ name }) => name));

  return {
    state: updates.state,
    async compile(backend, signal) {
      const updater = await updates.compile(backend, signal);
      const program = await compileStep(step, backend, signal).catch(async (error: unknown) => {
        await updater.dispose();
        throw error;
      });
      await writeAll(program, step.state);

      return {
        async update(microBatches, clock) {
          const trained = await updater.parameters();
          const parameters = { ...trained, ...options.stream?.expand(trained), ...clock.inputs };
          let loss = 0;
          let outputs: Record<string, Tensor> = {};
          let observed: Observed | undefined;
          for (const [i, feeds] of microBatches.entries()) {
            const place = {
              [accumulateName]: scalarTensor(i === 0 ? 0 : 1),
              [penaltyWeightName]: scalarTensor(i === 0 ? 1 : 0),
            };
            outputs = await program.run(feedsOf(step.graph, { ...feeds(), ...parameters, ...place }));
            loss += numberOf(outputs[lossName]);
            const seen = resultOf(outputs).observed;
            observed = seen && together(observed, seen, i + 1, adds);
          }
          const slopes: Record<string, Tensor> = { ...outputs };
          for (const name of step.state.keys()) slopes[name] = await program.read(name);
          const gradients: Feeds = options.stream ? { ...slopes, ...options.stream.pullBack(trained, slopes) } : slopes;
          return {
            loss,
            ...resultOf(outputs),
            ...(observed && { observed }),
            ...(await updater.apply(gradients, clock)),
          };
        },
        read: (names) => updater.read(names),
        write: (tensors) => updater.write(tensors),
        async dispose() {
          await program.dispose();
          await updater.dispose();
        },
      };
    },
  };
}
