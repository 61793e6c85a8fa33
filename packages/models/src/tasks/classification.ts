import { type Batch, type Metrics, PeftError } from '@peftjs/core';
import type { Tensor } from '@peftjs/core/tensor';
import { argmax, judge, rowOf, rowsBySample, softmax } from './likelihood.js';
import { headOf, type ModelPieces, type ModelTask, type Row } from './task.js';

export interface ClassificationOptions {
  /** Labels in the order of the outputs. Default: those of the checkpoint's own head. `labelsIn` collects them. */
  readonly labels?: readonly string[];
  /** `new` makes a fresh head even when the checkpoint has one. Default `checkpoint`. */
  readonly head?: 'checkpoint' | 'new';
}

export interface Classification {
  /** What a task that gives one label to a sample is, apart from the samples. */
  readonly task: Pick<
    ModelTask,
    'name' | 'labels' | 'modulesToSave' | 'trainable' | 'monitor' | 'head' | 'metrics' | 'predictions'
  >;
  /** Which token of a sequence is read. */
  readonly token: 'first' | 'last';
  /** The number of a row's label; undefined where it has none. @throws PeftError DATA_INVALID for one that is not known */
  labelOf(row: Row, index: number): number | undefined;
}

/** One label for a sample, by the head `name` of an architecture, which is trained and saved with the adapter. */
export function classification(pieces: ModelPieces, name: string, options: ClassificationOptions): Classification {
  const head = headOf(pieces.architecture, name);
  const module = head.module!;
  const present = pieces.tensors.has(`${module}.weight`) && options.head !== 'new';
  const labels = options.labels ?? ownLabels(pieces, module, present);
  const numbers = new Map(labels.map((label, i) => [label, i]));
  return {
    task: {
      name,
      labels,
      modulesToSave: [module],
      trainable: true,
      monitor: { metric: 'accuracy', better: 'higher' },
      head: { name, options: { classes: labels.length }, weights: present ? 'checkpoint' : 'new' },
      metrics: classificationMetrics,
      predictions: (outputs, batch) =>
        rowsBySample(batch).map((row) => {
          const scores = softmax(rowOf(outputs.logits!, row));
          return { label: labels[argmax(scores)]!, scores };
        }),
    },
    token: head.token ?? 'first',
    labelOf: ({ label }, index) => (label === undefined ? undefined : labelNumber(label, numbers, index)),
  };
}

function ownLabels({ config, directory }: ModelPieces, module: string, present: boolean): readonly string[] {
  if (present && config.labels) return config.labels;
  const message = `"${directory}" has no head "${module}" with labels of its own: give \`labels\` (labelsIn collects them from data).`;
  throw new PeftError('CONFIG_INVALID', message, { details: { directory, module } });
}

function labelNumber(label: string, numbers: ReadonlyMap<string, number>, index: number): number {
  const known = numbers.get(label) ?? (/^\d+$/.test(label) ? Number(label) : -1);
  if (known >= 0 && known < numbers.size) return known;
  const labels = [...numbers.keys()];
  throw new PeftError('DATA_INVALID', `Row ${index} has the label "${label}"; the labels are ${labels.join(', ')}.`, {
    details: { row: index, label, labels },
  });
}

/** Accuracy, mean loss, and the mean of F1 over the labels that occur or are predicted. */
function classificationMetrics(): Metrics {
  const counts = new Map<number, { hit: number; said: number; was: number }>();
  const of = (label: number) => {
    const entry = counts.get(label) ?? { hit: 0, said: 0, was: 0 };
    counts.set(label, entry);
    return entry;
  };
  let [rows, hits, loss] = [0, 0, 0];
  return {
    add(outputs: Readonly<Record<string, Tensor>>, batch: Batch) {
      for (const judged of judge(outputs, batch)) {
        rows++;
        loss += judged.loss;
        of(judged.label).was++;
        of(judged.predicted).said++;
        if (judged.label !== judged.predicted) continue;
        hits++;
        of(judged.label).hit++;
      }
    },
    result() {
      const f1 = [...counts.values()].map(({ hit, said, was }) => (2 * hit) / (said + was));
      return {
        loss: loss / rows,
        accuracy: hits / rows,
        f1: f1.reduce((sum, x) => sum + x, 0) / f1.length,
      };
    },
  };
}

/** The labels that occur in a data set: in numeric order when all are integers, in text order otherwise. */
export async function labelsIn(rows: AsyncIterable<Row> | Iterable<Row>, column = 'label'): Promise<string[]> {
  const found = new Set<string>();
  for await (const row of rows) {
    const label = row[column];
    if (label !== undefined) found.add(label);
  }
  const labels = [...found];
  return labels.every((label) => /^-?\d+$/.test(label))
    ? labels.sort((a, b) => Number(a) - Number(b))
    : labels.sort((a, b) => (a < b ? -1 : 1));
}
