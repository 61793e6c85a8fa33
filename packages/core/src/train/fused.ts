import { optimize } from '../graph/passes/optimize.js';
import { rateFeeds, scalarFeeds } from './groups.js';
import { fusedGraph, lossName, type StepOptions, type TrainingGraph } from './step-graph.js';
import { compileStep, feedsOf, numberOf, readAll, resultOf, type StepPlan, writeAll } from './stepper.js';
import { gradNormName } from './update.js';

/** Loss, gradients and update in one program: everything stays where the backend computes. Changes the graph. */
export function fusedSteps(training: TrainingGraph, options: StepOptions): StepPlan {
  const step = fusedGraph(training, options);
  optimize(step.graph);
  return {
    state: step.state,
    async compile(backend, signal) {
      const program = await compileStep(step, backend, signal);
      return {
        async update([feeds], clock) {
          const scalars = { ...scalarFeeds(options.groups, clock), ...rateFeeds(options.groups, clock) };
          const outputs = await program.run(feedsOf(step.graph, { ...feeds!(), ...scalars, ...clock.inputs }));
          const norm = outputs[gradNormName];
          return {
            loss: numberOf(outputs[lossName]),
            ...(norm && { gradNorm: numberOf(norm) }),
            ...resultOf(outputs),
          };
        },
        read: (names) => readAll(program, names),
        write: (tensors) => writeAll(program, tensors),
        dispose: () => program.dispose(),
      };
    },
  };
}
