import { type Adapter, type Example, PeftError } from '@peftjs/core';
import {
  causalLm,
  embedding,
  loadModel,
  type Model,
  readConfig,
  sequenceClassification,
  type TaskFactory,
} from '@peftjs/models';

export interface TaskSettings {
  readonly maxLength?: number | undefined;
  /** Labels of a head that the checkpoint does not have. */
  readonly labels?: readonly string[] | undefined;
  /** A fresh head even when the checkpoint has one. */
  readonly newHead?: boolean | undefined;
}

type MakeTask = (settings: TaskSettings) => TaskFactory;

const length = ({ maxLength }: TaskSettings) => (maxLength === undefined ? {} : { maxLength });

/** The labels of the data count where the checkpoint has no head of its own. */
const classification: MakeTask = (settings) => (pieces) => {
  const module = pieces.architecture.heads['sequence-classification']?.module;
  const own = pieces.tensors.has(`${module}.weight`) && pieces.config.labels !== undefined && !settings.newHead;
  const labels = own || !settings.labels ? {} : { labels: settings.labels };
  return sequenceClassification({ ...length(settings), ...labels, ...(settings.newHead ? { head: 'new' } : {}) })(
    pieces,
  );
};

/** The bare body: `last_hidden_state` of every token. */
const features: MakeTask = () => () => ({
  name: 'features',
  modulesToSave: [],
  trainable: false,
  monitor: { metric: 'loss', better: 'lower' },
  head: { name: 'features' },
  encode() {
    throw new PeftError('CONFIG_INVALID', 'The bare body of a model has no task that reads data.');
  },
  batch() {
    throw new PeftError('CONFIG_INVALID', 'The bare body of a model has no task that reads data.');
  },
  metrics: () => ({ add() {}, result: () => ({}) }),
});

/** Tasks by the name that `--task` and an adapter's sidecar give them. */
const tasks: Readonly<Record<string, MakeTask>> = {
  'causal-lm': (settings) => causalLm(length(settings)) as TaskFactory,
  'sequence-classification': classification,
  embedding: (settings) => embedding(length(settings)) as TaskFactory,
  features,
};

/** Opens a base for a task. @throws PeftError CONFIG_INVALID naming the tasks that are known */
export function openModel(
  directory: string,
  task: string,
  options: TaskSettings & { seed?: number } = {},
): Promise<Model<Example>> {
  const make = tasks[task];
  if (make)
    return loadModel(directory, { task: make(options), ...(options.seed === undefined ? {} : { seed: options.seed }) });
  const known = Object.keys(tasks);
  const message = `There is no task ${JSON.stringify(task)}; known: ${known.join(', ')}.`;
  throw new PeftError('CONFIG_INVALID', message, { details: { task, known } });
}

/** What a base was made for, by the class in its config.json; an adapter's own task counts more. */
export async function taskOf(directory: string, adapter?: Adapter): Promise<string> {
  if (adapter?.task && tasks[adapter.task.name]) return adapter.task.name;
  const [name = ''] = (await readConfig(directory)).classes;
  if (/ForCausalLM$|LMHeadModel$/.test(name)) return 'causal-lm';
  return name.endsWith('ForSequenceClassification') ? 'sequence-classification' : 'features';
}

/** Labels an adapter was trained with: named, or as many as its head has outputs. */
export function labelsOf(adapter: Adapter | undefined): readonly string[] | undefined {
  if (adapter?.task?.labels) return adapter.task.labels;
  const head = [...(adapter?.replaced ?? [])].find(([path]) => /(^|\.)(classifier|score)\.weight$/.test(path))?.[1];
  return head && Array.from({ length: head.shape[0]! }, (_, i) => String(i));
}
