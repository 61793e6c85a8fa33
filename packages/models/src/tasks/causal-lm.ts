import { type Batch, type Example, type Metrics, PeftError } from '@peftjs/core';
import type { Tensor } from '@peftjs/core/tensor';
import { type Layout, packBatch, type Sequence } from '../data/pack.js';
import { judge } from './likelihood.js';
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

export interface CausalLmOptions {
  /** Tokens a row is cut to, from its end. Default: as many as the model has positions for. */
  readonly maxLength?: number;
  readonly layout?: Layout;
}

export interface TokenText extends Example {
  readonly ids: readonly number[];
  /** Place of the first token that is predicted and counts in the loss; `ids.length` when none does. */
  readonly from: number;
}

/**
 * Next-token prediction. Rows have `text`, or `prompt` and `completion`: tokenised one after the other with nothing
 * between, the tokenizer's start tokens first, the end token last; only completion and end token count in the loss.
 */
export function causalLm(options: CausalLmOptions = {}): TaskFactory<TokenText> {
  return (pieces) => {
    headOf(pieces.architecture, 'causal-lm');
    const maxLength = lengthLimit(pieces, options.maxLength);
    const layout = packing(pieces, options.layout);
    return {
      name: 'causal-lm',
      modulesToSave: [],
      trainable: true,
      monitor: { metric: 'loss', better: 'lower' },
      head: { name: 'causal-lm' },
      encode: (row, index) => encode(pieces, row, index, maxLength),
      batch(examples, indices, { labels: labelled = true } = {}) {
        const sequences = examples.map(labelled ? training : prompting);
        return packBatch(sequences, indices, { ...layout, labels: labelled });
      },
      metrics: languageMetrics,
    };
  };
}

/** Reads the rows that predict a token that counts. */
function training({ ids, from }: TokenText): Sequence {
  const first = Math.max(1, from);
  const count = Math.max(0, ids.length - first);
  return {
    ids,
    reads: Array.from({ length: count }, (_, k) => first - 1 + k),
    labels: ids.slice(first),
  };
}

/** Reads the last row: what comes next. */
const prompting = ({ ids }: TokenText): Sequence => ({ ids, reads: [ids.length - 1] });

function encode(pieces: ModelPieces, row: Row, index: number, maxLength: number): TokenText {
  const tokenizer = tokenizerOf(pieces);
  const plain = (text: string) => tokenizer.encode(text, { specialTokens: false }).ids;
  const { text, prompt, completion } = row;
  const answer = text ?? completion;
  if (answer === undefined && prompt === undefined)
    throw missingColumns(row, index, '`text`, or `prompt` and `completion`');
  const head = [...tokenizer.startIds, ...(text === undefined && prompt !== undefined ? plain(prompt) : [])];
  const end = pieces.config.eosIds[0];
  const tail = answer === undefined ? [] : [...plain(answer), ...(end === undefined ? [] : [end])];
  const ids = [...head, ...tail].slice(0, maxLength);
  const counted = ids.length - Math.max(1, head.length);
  if (ids.length === 0 || (tail.length > 0 && counted <= 0)) {
    const message = `Row ${index} has no token to learn from: its prompt takes ${head.length} of at most ${maxLength} tokens. Raise maxLength or shorten it.`;
    throw new PeftError('DATA_INVALID', message, { details: { row: index, prompt: head.length, maxLength } });
  }
  return { length: ids.length, ids, from: Math.min(head.length, ids.length) };
}

/** Mean loss over all labelled tokens, its exponential, and how many tokens were the likeliest. */
function languageMetrics(): Metrics {
  let [tokens, hits, loss] = [0, 0, 0];
  return {
    add(outputs: Readonly<Record<string, Tensor>>, batch: Batch) {
      for (const judged of judge(outputs, batch)) {
        tokens++;
        loss += judged.loss;
        hits += Number(judged.label === judged.predicted);
      }
    },
    result: () => ({ loss: loss / tokens, perplexity: Math.exp(loss / tokens), tokenAccuracy: hits / tokens }),
  };
}
