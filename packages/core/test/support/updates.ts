import { referenceBackend } from '../../../testkit/src/index.js';
import {
  appendUpdate,
  createGraph,
  createOps,
  type Group,
  type Program,
  scalarFeeds,
  type Tensor,
} from '../../src/index.js';

/** An optimizer's program over parameters whose gradients are fed as `grad <name>`. */
export interface UpdateProgram {
  readonly program: Program;
  update(gradients: ReadonlyMap<string, Tensor>, step: number): Promise<Record<string, Tensor>>;
}

export async function updateProgram(
  start: ReadonlyMap<string, Tensor>,
  group: Group,
  maxGradNorm?: number,
): Promise<UpdateProgram> {
  const graph = createGraph('update');
  const ops = createOps(graph);
  const gradients = [...start].map(([name, { shape }]) => ({
    trainable: { name, value: ops.input(name, 'f32', shape), shape, rule: {} },
    g: ops.input(`grad ${name}`, 'f32', shape),
    group: 0,
  }));
  const options = { groups: [group], ...(maxGradNorm !== undefined && { maxGradNorm }) };
  const { carry, state } = appendUpdate(gradients, options, ops);
  const program = await referenceBackend().compile(graph, { carry });
  for (const [name, tensor] of [...start, ...state]) await program.write(name, tensor);
  return {
    program,
    update: (given, step) =>
      program.run({
        ...Object.fromEntries([...given].map(([name, g]) => [`grad ${name}`, g])),
        ...scalarFeeds([group], { step, factor: 1 }),
      }),
  };
}
