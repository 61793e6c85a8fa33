import { type Adapter, type Example, PeftError, requireBase } from '@peftjs/core';
import {
  type ClassificationOptions,
  causalLm,
  embedding,
  imageClassification,
  imageRows,
  labelsIn,
  loadModel,
  type Model,
  type Row,
  type RowsOptions,
  readConfig,
  rows,
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
const classification =
  (head: string, make: (options: ClassificationOptions, settings: TaskSettings) => TaskFactory): MakeTask =>
  (settings) =>
  (pieces) => {
    const module = pieces.architecture.heads[head]?.module;
    const own = pieces.tensors.has(`${module}.weight`) && pieces.config.labels !== undefined && !settings.newHead;
    const labels = own || !settings.labels ? {} : { labels: settings.labels };
    return make({ ...labels, ...(settings.newHead ? { head: 'new' } : {}) }, settings)(pieces);
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

interface TaskKind {
  readonly make: MakeTask;
  /** Classes of transformers that are made for it. */
  readonly classes?: RegExp;
  /** Its rows have labels, which a new head is made for. */
  readonly labelled?: boolean;
  /** Reads its data. Default: tables of texts. */
  readonly rows?: (path: string, options: RowsOptions) => AsyncIterable<Row>;
}

/** Tasks by the name that `--task` and an adapter's sidecar give them. */
const tasks: Readonly<Record<string, TaskKind>> = {
  'causal-lm': {
    make: (settings) => causalLm(length(settings)) as TaskFactory,
    classes: /ForCausalLM$|LMHeadModel$/,
  },
  'sequence-classification': {
    make: classification(
      'sequence-classification',
      (options, settings) => sequenceClassification({ ...length(settings), ...options }) as TaskFactory,
    ),
    classes: /ForSequenceClassification$/,
    labelled: true,
  },
  'image-classification': {
    make: classification('image-classification', (options) => imageClassification(options) as TaskFactory),
    classes: /ForImageClassification$/,
    labelled: true,
    rows: imageRows,
  },
  embedding: { make: (settings) => embedding(length(settings)) as TaskFactory },
  features: { make: features },
};

/** @throws PeftError CONFIG_INVALID naming the tasks that are known */
function kindOf(task: string): TaskKind {
  const kind = tasks[task];
  if (kind) return kind;
  const known = Object.keys(tasks);
  const message = `There is no task ${JSON.stringify(task)}; known: ${known.join(', ')}.`;
  throw new PeftError('CONFIG_INVALID', message, { details: { task, known } });
}

/** The rows of a file or folder, as the task reads them. @throws PeftError CONFIG_INVALID */
export const openRows = (task: string, path: string, columns: Readonly<Record<string, string>>): AsyncIterable<Row> =>
  (kindOf(task).rows ?? rows)(path, { columns });

/** The labels that occur in data, where the task has labels. */
export const labelsInData = async (task: string, data: AsyncIterable<Row>): Promise<readonly string[] | undefined> =>
  kindOf(task).labelled ? labelsIn(data) : undefined;

/** Opens a base for a task. @throws PeftError CONFIG_INVALID naming the tasks that are known */
export async function openModel(
  directory: string,
  task: string,
  options: TaskSettings & { seed?: number } = {},
): Promise<Model<Example>> {
  const { make } = kindOf(task);
  return loadModel(directory, { task: make(options), ...(options.seed === undefined ? {} : { seed: options.seed }) });
}

/** What a base was made for, by the class in its config.json; an adapter's own task counts more. */
export async function taskOf(directory: string, adapter?: Adapter): Promise<string> {
  if (adapter?.task && tasks[adapter.task.name]) return adapter.task.name;
  const [name = ''] = (await readConfig(directory)).classes;
  return Object.entries(tasks).find(([, { classes }]) => classes?.test(name))?.[0] ?? 'features';
}

/**
 * Opens the base that an adapter belongs to, for the task and the labels that it was trained with.
 * @throws PeftError ADAPTER_MISMATCH for an adapter that says it was made for another base
 */
export async function openFor(
  directory: string,
  adapter: Adapter | undefined,
  { task, ...settings }: { task?: string; maxLength?: number } = {},
): Promise<Model<Example>> {
  const labels = labelsOf(adapter);
  const model = await openModel(directory, task ?? (await taskOf(directory, adapter)), {
    ...settings,
    ...(labels && { labels, newHead: true }),
  });
  await requireBase(model, adapter ? [adapter] : []);
  return model;
}

/** Labels an adapter was trained with: named, or as many as its head has outputs. */
export function labelsOf(adapter: Adapter | undefined): readonly string[] | undefined {
  if (adapter?.task?.labels) return adapter.task.labels;
  const head = [...(adapter?.replaced ?? [])].find(([path]) => /(^|\.)(classifier|score)\.weight$/.test(path))?.[1];
  return head && Array.from({ length: head.shape[0]! }, (_, i) => String(i));
}
