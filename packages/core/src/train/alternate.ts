import type { Tensor } from '../tensor/tensor.js';
import type { StepPlan, Stepper } from './stepper.js';

/**
 * Two programs over one state: `observing` for the steps that a method looks at, `plain` for the others. Only the one
 * that runs is there, because each has weights and buffers of its own; the state moves to the next.
 */
export function alternatingSteps(plain: StepPlan, observing: StepPlan): StepPlan {
  return {
    state: plain.state,
    async compile(backend, signal) {
      let current = plain;
      let program = await plain.compile(backend, signal);
      const names = new Set<string>();
      /** The state between two programs: a compilation that is cancelled leaves it here. */
      let between: ReadonlyMap<string, Tensor> | undefined;

      async function turnTo(plan: StepPlan): Promise<Stepper> {
        if (plan === current) return program;
        between = await program.read([...names]);
        await program.dispose();
        program = await plan.compile(backend, signal);
        current = plan;
        await program.write(between);
        between = undefined;
        return program;
      }

      return {
        update: async (microBatches, clock) =>
          (await turnTo(clock.observe ? observing : plain)).update(microBatches, clock),
        read: async (wanted) =>
          between ? new Map(wanted.map((name) => [name, between!.get(name)!])) : program.read(wanted),
        async write(tensors) {
          for (const name of tensors.keys()) names.add(name);
          await program.write(tensors);
        },
        dispose: () => program.dispose(),
      };
    },
  };
}
