import { type Example, PeftError } from '@peftjs/core';
import * as z from 'zod';
import type { Pooling } from '../architectures/pooling.js';
import { type Layout, packBatch } from '../data/pack.js';
import { readJson, readJsonValue } from '../directory.js';
import { rowOf, rowsBySample } from './likelihood.js';
import {
  headOf,
  lengthLimit,
  type ModelPieces,
  missingColumns,
  packing,
  type TaskFactory,
  tokenizerOf,
} from './task.js';

export interface EmbeddingOptions {
  /** Default: what the sentence-transformers files of the model say; without them the mean over all tokens. */
  readonly pooling?: Pooling['mode'];
  /** Scales every vector to length 1. Default: what those files say; without them true. */
  readonly normalize?: boolean;
  readonly maxLength?: number;
  readonly layout?: Layout;
}

export interface PlainText extends Example {
  readonly ids: readonly number[];
  readonly typeIds?: readonly number[];
}

/** One vector a text (column `text`): output `embeddings` [batch*reads, width]. */
export function embedding(options: EmbeddingOptions = {}): TaskFactory<PlainText> {
  return async (pieces) => {
    headOf(pieces.architecture, 'embedding');
    const files = await sentenceTransformer(pieces);
    const maxLength = lengthLimit(pieces, options.maxLength ?? files.maxLength);
    const layout = packing(pieces, options.layout);
    const pooling: Pooling = {
      mode: options.pooling ?? files.mode ?? 'mean',
      normalize: options.normalize ?? files.normalize ?? true,
    };
    return {
      name: 'embedding',
      modulesToSave: [],
      trainable: false,
      monitor: { metric: 'loss', better: 'lower' },
      head: { name: 'embedding', options: { pooling } },
      encode(row, index) {
        if (row.text === undefined) throw missingColumns(row, index, 'the column `text`');
        const { ids, typeIds } = tokenizerOf(pieces).encode(row.text, { maxLength });
        return { length: ids.length, ids, ...(pieces.architecture.tokenTypes && { typeIds }) };
      },
      batch(examples, indices) {
        return packBatch(
          examples.map((example) => ({ ...example, reads: [0] })),
          indices,
          { ...layout, labels: false },
        );
      },
      metrics: () => ({ add() {}, result: () => ({}) }),
      predictions: (outputs, batch) =>
        rowsBySample(batch).map((row) => ({ embedding: rowOf(outputs.embeddings!, row).slice() })),
    };
  };
}

const Modules = z.array(z.looseObject({ type: z.string(), path: z.string() }));
const PoolingFile = z.looseObject({
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_mean_tokens: z.boolean().default(false),
});
const TextFile = z.looseObject({ max_seq_length: z.int().positive().nullish() });

interface SentenceTransformer {
  readonly mode?: Pooling['mode'];
  readonly normalize?: boolean;
  readonly maxLength?: number;
}

/** modules.json of sentence-transformers and the files it names. @throws PeftError MODEL_UNSUPPORTED, FILE_INVALID */
async function sentenceTransformer({ files, directory }: ModelPieces): Promise<SentenceTransformer> {
  const listed = await readJsonValue(files, 'modules.json');
  if (!listed) return {};
  const modules = Modules.parse(listed);
  const kind = (name: string) => modules.find(({ type }) => type.endsWith(`.${name}`));
  const unknown = modules.find(({ type }) => !/\.(Transformer|Pooling|Normalize)$/.test(type));
  if (unknown)
    throw new PeftError('MODEL_UNSUPPORTED', `modules.json of "${directory}" has a module of type "${unknown.type}".`);
  const pooling = kind('Pooling');
  const modes = pooling && PoolingFile.parse(await readJson(files, `${pooling.path}/config.json`));
  if (modes && !modes.pooling_mode_mean_tokens && !modes.pooling_mode_cls_token)
    throw new PeftError('MODEL_UNSUPPORTED', `"${directory}/${pooling.path}" pools neither by the mean nor by [CLS].`);
  const text = TextFile.parse((await readJson(files, 'sentence_bert_config.json')) ?? {});
  return {
    normalize: kind('Normalize') !== undefined,
    ...(modes && { mode: modes.pooling_mode_mean_tokens ? 'mean' : 'cls' }),
    ...(text.max_seq_length && { maxLength: text.max_seq_length }),
  };
}
