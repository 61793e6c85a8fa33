import { type Batch, type Example, type Metrics, PeftError } from '@peftjs/core';
import type { Tensor } from '@peftjs/core/tensor';
import { type Layout, packBatch, type Sequence } from '../data/pack.js';
import { argmax, judge, rowOf, rowsBySample, softmax } from './likelihood.js';
import {
  headOf,
  lengthLimit,
  type ModelPieces,
  missingColumns,
  packing,
  type Row,
  type TaskFactory,
  tokenizerOf,
} from './task.js';

export interface SequenceClassificationOptions {
  /** Labels in the order of the outputs. Default: those of the checkpoint's own head. `labelsIn` collects them. */
  readonly labels?: readonly string[];
  /** Tokens a text is cut to. Default: as many as the model has positions for. */
  readonly maxLength?: number;
  /** `new` makes a fresh head even when the checkpoint has one. Default `checkpoint`. */
  readonly head?: 'checkpoint' | 'new';
  readonly layout?: Layout;
}

export interface LabelledText extends Example {
  readonly ids: readonly number[];
  readonly typeIds?: readonly number[];
  readonly label?: number;
}

/**
 * One label for a text (column `text`) or a pair (`text_a`, `text_b`); column `label` is a label or its number. The
 * classification head is trained and saved with the adapter.
 */
export function sequenceClassification(options: SequenceClassificationOptions = {}): TaskFactory<LabelledText> {
  return (pieces) => {
    const head = headOf(pieces.architecture, 'sequence-classification');
    const module = head.module!;
    const present = pieces.tensors.has(`${module}.weight`) && options.head !== 'new';
    const labels = options.labels ?? ownLabels(pieces, module, present);
    const numbers = new Map(labels.map((label, i) => [label, i]));
    const maxLength = lengthLimit(pieces, options.maxLength);
    const layout = packing(pieces, options.layout);
    const read = head.token === 'last' ? (n: number) => n - 1 : () => 0;

    return {
      name: 'sequence-classification',
      labels,
      modulesToSave: [module],
      trainable: true,
      monitor: { metric: 'accuracy', better: 'higher' },
      head: {
        name: 'sequence-classification',
        options: { classes: labels.length },
        weights: present ? 'checkpoint' : 'new',
      },
      encode(row, index) {
        const { ids, typeIds } = tokenizerOf(pieces).encode(...texts(row, index, maxLength));
        const label = row.label === undefined ? undefined : labelNumber(row.label, numbers, index);
        return {
          length: ids.length,
          ids,
          ...(pieces.architecture.tokenTypes && { typeIds }),
          ...(label !== undefined && { label }),
        };
      },
      batch(examples, indices, { labels: labelled = true } = {}) {
        const sequences = examples.map((example, i): Sequence => {
          if (labelled && example.label === undefined) throw missingColumns({}, indices[i]!, 'the column `label`');
          return { ...example, reads: [read(example.ids.length)], ...(labelled && { labels: [example.label!] }) };
        });
        return packBatch(sequences, indices, { ...layout, labels: labelled });
      },
      metrics: classificationMetrics,
      predictions: (outputs, batch) =>
        rowsBySample(batch).map((row) => {
          const scores = softmax(rowOf(outputs.logits!, row));
          return { label: labels[argmax(scores)]!, scores };
        }),
    };
  };
}

function ownLabels({ config, directory }: ModelPieces, module: string, present: boolean): readonly string[] {
  if (present && config.labels) return config.labels;
  const message = `"${directory}" has no head "${module}" with labels of its own: give \`labels\` (labelsIn collects them from data).`;
  throw new PeftError('CONFIG_INVALID', message, { details: { directory, module } });
}

function texts(row: Row, index: number, maxLength: number): [string, { pair?: string; maxLength: number }] {
  if (row.text !== undefined) return [row.text, { maxLength }];
  const { text_a: first, text_b: second } = row;
  if (first === undefined || second === undefined) throw missingColumns(row, index, '`text`, or `text_a` and `text_b`');
  return [first, { pair: second, maxLength }];
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
