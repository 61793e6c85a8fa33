import type { Example } from '@peftjs/core';
import { type Layout, packBatch, type Sequence } from '../data/pack.js';
import { type ClassificationOptions, classification } from './classification.js';
import { lengthLimit, missingColumns, packing, type Row, type TaskFactory, tokenizerOf } from './task.js';

export interface SequenceClassificationOptions extends ClassificationOptions {
  /** Tokens a text is cut to. Default: as many as the model has positions for. */
  readonly maxLength?: number;
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
    const { task, token, labelOf } = classification(pieces, 'sequence-classification', options);
    const maxLength = lengthLimit(pieces, options.maxLength);
    const layout = packing(pieces, options.layout);
    const read = token === 'last' ? (n: number) => n - 1 : () => 0;
    return {
      ...task,
      encode(row, index) {
        const { ids, typeIds } = tokenizerOf(pieces).encode(...texts(row, index, maxLength));
        const label = labelOf(row, index);
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
    };
  };
}

function texts(row: Row, index: number, maxLength: number): [string, { pair?: string; maxLength: number }] {
  if (row.text !== undefined) return [row.text, { maxLength }];
  const { text_a: first, text_b: second } = row;
  if (first === undefined || second === undefined) throw missingColumns(row, index, '`text`, or `text_a` and `text_b`');
  return [first, { pair: second, maxLength }];
}
