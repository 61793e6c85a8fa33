import type { Backend, Feeds } from '../backend/backend.js';
import type { Tensor } from '../tensor/tensor.js';
import { rateFeeds, scalarFeeds } from './groups.js';
import { type StepOptions, type TrainingGraph, updateGraph } from './step-graph.js';
import { compileStep, feedsOf, numberOf, readAll, type UpdateClock, writeAll } from './stepper.js';
import { gradNormName } from './update.js';

/** Holds parameters and state, and applies gradients to them. */
export interface Updater {
  /** `gradients` by `accumulatorName` of their parameters. */
  apply(gradients: Feeds, clock: UpdateClock): Promise<{ readonly gradNorm?: number }>;
  /** The parameters as the next gradients are to see them; no copies. */
  parameters(): Promise<Feeds>;
  read(names: Iterable<string>): Promise<Map<string, Tensor>>;
  write(tensors: ReadonlyMap<string, Tensor>): Promise<void>;
  dispose(): Promise<void>;
}

export interface UpdaterPlan {
  /** The optimizer's state before the first update. */
  readonly state: ReadonlyMap<string, Tensor>;
  compile(backend: Backend, signal?: AbortSignal): Promise<Updater>;
}

/** The update of all tensors as one program. */
export function wholeUpdater(training: TrainingGraph, options: StepOptions): UpdaterPlan {
  const step = updateGraph(training, options);
  return {
    state: step.state,
    async compile(backend, signal) {
      const program = await compileStep(step, backend, signal);
      return {
        async apply(gradients, clock) {
          const rates = rateFeeds(options.groups, clock);
          const feeds = { ...gradients, ...scalarFeeds(options.groups, clock), ...rates, ...clock.inputs };
          const norm = (await program.run(feedsOf(step.graph, feeds)))[gradNormName];
          return norm ? { gradNorm: numberOf(norm) } : {};
        },
        async parameters() {
          const feeds: Record<string, Tensor> = {};
          for (const { name } of training.trainables) feeds[name] = await program.read(name);
          return feeds;
        },
        read: (names) => readAll(program, names),
        write: (tensors) => writeAll(program, tensors),
        dispose: () => program.dispose(),
      };
    },
  };
}
