import {
  causalLm,
  embedding,
  loadModel,
  type Model,
  type ModelPieces,
  sequenceClassification,
  type TaskFactory,
} from '@peftjs/models';
import type { EngineTask } from '../engine/types.js';

/** One sequence a row: a row belongs to one tenant. */
const layout = 'padded';

/** A base without a head of its own is served with those of its adapters; the number of labels is then theirs. */
const classification: TaskFactory = (pieces: ModelPieces) => {
  const module = pieces.architecture.heads['sequence-classification']?.module;
  const own = module !== undefined && pieces.tensors.has(`${module}.weight`) && pieces.config.labels !== undefined;
  return sequenceClassification(own ? { layout } : { layout, labels: ['0', '1'] })(pieces);
};

/** What each task of the server is called among the tasks of models, and how it is made. */
const tasks: Readonly<Record<EngineTask, { readonly name: string; readonly make: TaskFactory }>> = {
  generate: { name: 'causal-lm', make: causalLm({ layout }) as TaskFactory },
  embed: { name: 'embedding', make: embedding({ layout }) as TaskFactory },
  classify: { name: 'sequence-classification', make: classification },
};

/** Opens the base for a task: on both threads the same, neither reads the weights yet. */
export const openBase = (directory: string, task: EngineTask): Promise<Model> =>
  loadModel(directory, { task: tasks[task].make });

/** The server's task for a model's. */
export const taskOf = (name: string): EngineTask | undefined =>
  (Object.keys(tasks) as EngineTask[]).find((task) => tasks[task].name === name);
