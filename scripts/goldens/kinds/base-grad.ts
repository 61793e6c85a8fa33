import { createOps, gradients, promoteWeight, type ShapedValue, type Tensor } from '@peftjs/core';
import { feedsOf, masked, only, openBase } from '../base.js';
import type { CaseFolder, RunContext } from '../case.js';
import { createChecks } from '../checks.js';

/** The gradient of the loss for every parameter of the base. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const { graph, loss } = base.model.graph('train');
  const names = [...folder.expected.keys()].flatMap((name) => (name.startsWith('grad/') ? [name.slice(5)] : []));
  const values = names.map((name) => promoteWeight(graph, name) as ShapedValue);
  const ops = createOps(graph);
  for (const [i, g] of gradients(graph, loss!, values).entries()) ops.output(g, `grad/${names[i]}`);

  const weights: Record<string, Tensor> = {};
  for (const name of names) weights[name] = await base.model.parameters.get(name)!.read();
  const program = await backend.compile(graph);
  const results = await program.run({ ...only(feedsOf(base, folder.inputs), graph.inputs), ...weights });
  await program.dispose();

  checks.tensor('loss/base', results.loss);
  const logits = folder.expected.get('logits/base')!;
  checks.tensor('logits/base', masked(results.logits, logits, folder.inputs.get('attention_mask')));
  for (const name of names) checks.tensor(`grad/${name}`, results[`grad/${name}`]);
  checks.done();
}
