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
  penaltyWeightName,
  type StepOptions,
  type TrainingGraph,
} from './step-graph.js';
import { compileStep, feedsOf, numberOf, resultOf, type StepPlan, writeAll } from './stepper.js';
import type { Streams } from './streams.js';
import { wholeUpdater } from './updater.js';

/**
 * What a method has observed of the last micro-batch, at the scale of the whole update: each micro-batch's loss is its
 * part of the update's, and so are its gradients.
 */
function takenTimes(observed: ReadonlyMap<string, Tensor>, count: number): ReadonlyMap<string, Tensor> {
  if (count === 1) return observed;
  const times = ({ dtype, shape, data }: Tensor): Tensor =>
    dtype === 'f32'
      ? f32(
          shape,
          (data as Float32Array).map((x) => x * count),
        )
      : { dtype, shape, data };
  return new Map(Array.from(observed, ([name, tensor]) => [name, times(tensor)]));
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
          for (const [i, feeds] of microBatches.entries()) {
            const place = {
              [accumulateName]: scalarTensor(i === 0 ? 0 : 1),
              [penaltyWeightName]: scalarTensor(i === 0 ? 1 : 0),
            };
            outputs = await program.run(feedsOf(step.graph, { ...feeds, ...parameters, ...place }));
            loss += numberOf(outputs[lossName]);
          }
          const slopes: Record<string, Tensor> = { ...outputs };
          for (const name of step.state.keys()) slopes[name] = await program.read(name);
          const gradients: Feeds = options.stream ? { ...slopes, ...options.stream.pullBack(trained, slopes) } : slopes;
          const { observed, ...result } = resultOf(outputs);
          const seen = observed && { observed: takenTimes(observed, microBatches.length) };
          return { loss, ...result, ...seen, ...(await updater.apply(gradients, clock)) };
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
