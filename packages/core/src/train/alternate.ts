import type { StepPlan, Stepper } from './stepper.js';

/**
 * Two programs over one state: `observing` for the steps that a method looks at, `plain` for the others. The second is
 * compiled when it is first needed; the state moves to whichever runs.
 */
export function alternatingSteps(plain: StepPlan, observing: StepPlan): StepPlan {
  return {
    state: plain.state,
    async compile(backend, signal) {
      const made = new Map<StepPlan, Stepper>([[plain, await plain.compile(backend, signal)]]);
      let current = plain;
      const names = new Set<string>();
      const now = () => made.get(current)!;

      async function turnTo(plan: StepPlan): Promise<Stepper> {
        if (plan === current) return now();
        const state = await now().read([...names]);
        if (!made.has(plan)) made.set(plan, await plan.compile(backend, signal));
        current = plan;
        await now().write(state);
        return now();
      }

      return {
        update: async (feeds, clock) => (await turnTo(clock.observe ? observing : plain)).update(feeds, clock),
        read: (wanted) => now().read(wanted),
        async write(tensors) {
          for (const name of tensors.keys()) names.add(name);
          await now().write(tensors);
        },
        async dispose() {
          for (const stepper of made.values()) await stepper.dispose();
        },
      };
    },
  };
}
