import { attachMethod, createOps, expandAll, gradients } from '@peftjs/core';
import { expectClose } from '../allclose.js';
import { finiteDifference } from '../finite-difference.js';
import { assert } from '../law.js';
import { referenceBackend } from '../reference/backend.js';
import { tinyFeeds } from '../tiny-task.js';
import { only } from './merge.js';
import { methodFeeds, type Scene } from './scene.js';

/** The training graph with the gradient of every trainable as an output `d NAME`. */
export function gradientForm({ model, plan, random }: Scene) {
  const form = model.graph('train');
  const attached = attachMethod(form, plan, random, { training: false });
  const { graph } = attached.model;
  const loss = attached.model.loss!;
  const ops = createOps(graph);
  const names = attached.wrt.map(({ name }) => name);
  for (const [i, g] of gradients(graph, loss, attached.wrt).entries()) ops.output(g, `d ${names[i]}`);
  return { graph, names };
}

export const gradientLaws: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  async 'gradients agree with finite differences, and nothing frozen has one'(scene) {
    const { random, plan, options } = scene;
    const { graph, names } = gradientForm(scene);
    const expected = [...(plan.method.stream ? expandAll(plan, random) : random.train).keys()].sort();
    assert(`${[...names].sort()}` === `${expected}`, `trainables are ${names}, the start trains ${expected}`);
    if (plan.method.forward) return;
    const inputs = new Set(graph.inputs.map(({ name }) => name));
    for (const name of random.frozen.keys()) assert(!inputs.has(name), `the frozen ${name} is an input of the graph`);

    const feeds = only({ ...tinyFeeds(4), ...methodFeeds(plan, random) }, graph.inputs);
    const truth = await referenceBackend({ wide: true }).compile(graph);
    const program = await (await scene.backend()).compile(graph);
    const exact = await truth.run(feeds);
    const results = await program.run(feeds);
    for (const name of names) {
      const slope = await finiteDifference(truth, { output: 'loss', feeds }, name);
      // 1e-6: float32 constants are not the same number in a formula and in its derivative.
      if (!options.constantParts)
        expectClose(`gradient of ${name} (${plan.method.name})`, exact[`d ${name}`]!, slope, {
          relToMax: 1e-6,
          absolute: 1e-9,
        });
      // 1e-5: float32 sums against float64 on a whole model.
      expectClose(`gradient of ${name} on the backend`, results[`d ${name}`]!, exact[`d ${name}`]!, {
        relToMax: 1e-5,
        absolute: 1e-8,
      });
    }
    await program.dispose();
    await truth.dispose();
  },
};
