import type { Plan } from '../adapter/bind.js';
import { lettersOf, type Start } from '../adapter/start.js';
import type { Feeds } from '../backend/backend.js';
import { optimize } from '../graph/passes/optimize.js';
import { createRandom } from '../tensor/random.js';
import { f32 } from '../tensor/refs.js';
import type { Tensor } from '../tensor/tensor.js';
import type { MicroBatch } from './batch-feeds.js';
import { slicedUpdater } from './slices.js';
import { accumulatorName, lossGraph, lossName, type StepOptions, type TrainingGraph } from './step-graph.js';
import { compileStep, feedsOf, numberOf, type StepPlan } from './stepper.js';
import { wholeUpdater } from './updater.js';

export interface ForwardParts {
  readonly plan: Plan;
  readonly start: Start;
  readonly seed: number;
}

// Loops, not `map`: these run over every trained number in every update.

const along = (p: Tensor, z: Tensor, factor: number): Tensor => {
  const [a, b] = [p.data as Float32Array, z.data as Float32Array];
  const moved = new Float32Array(a.length);
  for (let i = 0; i < moved.length; i++) moved[i] = a[i]! + factor * b[i]!;
  return f32(p.shape, moved);
};

/** The gradient slope · z, in place of z. */
function scaleInPlace(z: Tensor, slope: number): Tensor {
  const data = z.data as Float32Array;
  for (let i = 0; i < data.length; i++) data[i] = slope * data[i]!;
  return z;
}

/**
 * Updates from losses alone (Malladi et al. 2023, definition 1): the slope along z is
 * (L(θ + εz) - L(θ - εz)) / 2ε, and the optimizer takes slope · z for the gradient. Both losses see the same batch.
 */
export function forwardSteps(
  training: TrainingGraph,
  options: StepOptions & { readonly sliced: boolean },
  { plan, start, seed }: ForwardParts,
): StepPlan {
  const updates = options.sliced ? slicedUpdater(training, options) : wholeUpdater(training, options);
  const graph = lossGraph(training);
  optimize(graph.graph);
  const forward = plan.method.forward!;
  const epsilon = forward.epsilon(plan.sites[0]!.c);
  const sites = new Map(plan.sites.map(({ target, c }) => [target.path, { target, c }]));

  /** z of every trained tensor; normal for those that are no target's. */
  function directions(trained: Feeds, step: number): Map<string, Tensor> {
    const all = [...start.frozen, ...start.held, ...Object.entries(trained)];
    return new Map(
      training.trainables.map(({ name, path, shape }) => {
        const rng = createRandom(seed).fork('direction', name, step);
        const site = path === undefined ? undefined : sites.get(path);
        if (!site) return [name, rng.normal(shape)];
        const letter = name.slice(name.lastIndexOf(':') + 1);
        return [name, forward.direction({ ...site, p: lettersOf(path!, all), name: letter, rng })];
      }),
    );
  }

  return {
    state: updates.state,
    async compile(backend, signal) {
      const updater = await updates.compile(backend, signal);
      const program = await compileStep(graph, backend, signal).catch(async (error: unknown) => {
        await updater.dispose();
        throw error;
      });
      async function lossAt(batches: readonly MicroBatch[], parameters: Feeds): Promise<number> {
        let loss = 0;
        for (const feeds of batches)
          loss += numberOf((await program.run(feedsOf(graph.graph, { ...feeds(), ...parameters })))[lossName]);
        return loss;
      }
      return {
        async update(batches, clock) {
          const trained = await updater.parameters();
          const z = directions(trained, clock.step);
          const moved = (factor: number): Feeds => ({
            ...clock.inputs,
            ...Object.fromEntries([...z].map(([name, dz]) => [name, along(trained[name]!, dz, factor)])),
          });
          const above = await lossAt(batches, moved(epsilon));
          const below = await lossAt(batches, moved(-epsilon));
          const slope = (above - below) / (2 * epsilon);
          const gradients = [...z].map(([name, dz]) => [accumulatorName(name), scaleInPlace(dz, slope)] as const);
          return { loss: (above + below) / 2, ...(await updater.apply(Object.fromEntries(gradients), clock)) };
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
