import { type Batch, type Example, PeftError, type Task } from '@peftjs/core';
import type { FileSet } from '@peftjs/core/files';
import type { Tensor, TensorRef } from '@peftjs/core/tensor';
import type { Architecture, BuildOptions } from '../architectures/architecture.js';
import { attentionLength } from '../architectures/balance.js';
import type { ModelConfig } from '../config.js';
import type { Layout, PackOptions } from '../data/pack.js';
import type { Tokenizer } from '../tokenizer.js';

/** What is known of a model before a task is bound to it. */
export interface ModelPieces {
  /** The model directory, or a set of its files. */
  readonly files: string | FileSet;
  /** What messages call it. */
  readonly directory: string;
  readonly config: ModelConfig;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer | undefined;
  /** What the checkpoint holds, by its own names. */
  readonly tensors: ReadonlyMap<string, TensorRef>;
}

/** A task bound to a model: which head of the architecture it needs. */
export interface ModelTask<E extends Example = Example> extends Task<E> {
  readonly head: {
    readonly name: string;
    readonly options?: Partial<Pick<BuildOptions, 'classes' | 'pooling'>>;
    /** `new`: the head's module is made anew even when the checkpoint has one. */
    readonly weights?: 'checkpoint' | 'new';
  };
  /** Column that a string alone stands for where rows are predicted. Default `text`. */
  readonly column?: string;
  /** Whether it can be trained: it has labels and a loss. */
  readonly trainable: boolean;
  /** What the outputs of a batch say of each of its samples, in the order of their numbers. */
  predictions?(outputs: Readonly<Record<string, Tensor>>, batch: Batch): Prediction[];
}

/** What a model says of one sample. */
export interface Prediction {
  /** The most probable label. */
  readonly label?: string;
  /** Probability of each label, in the order of the task's labels. */
  readonly scores?: readonly number[];
  readonly embedding?: Float32Array;
}

export type TaskFactory<E extends Example = Example> = (pieces: ModelPieces) => ModelTask<E> | Promise<ModelTask<E>>;

/** The head of an architecture. @throws PeftError MODEL_UNSUPPORTED naming those it has */
export function headOf(architecture: Architecture, name: string) {
  const head = architecture.heads[name];
  if (head) return head;
  const known = Object.keys(architecture.heads);
  const message = `Models of type "${architecture.modelType}" have no head "${name}". They have: ${known.join(', ')}.`;
  throw new PeftError('MODEL_UNSUPPORTED', message, { details: { modelType: architecture.modelType, name, known } });
}

/** @throws PeftError FILE_MISSING where a model without tokenizer.json is asked for text */
export function tokenizerOf({ tokenizer, directory }: ModelPieces): Tokenizer {
  if (tokenizer) return tokenizer;
  const message = `"${directory}" has no tokenizer.json, so text cannot be encoded. Put the tokenizer's files beside config.json.`;
  throw new PeftError('FILE_MISSING', message, { details: { directory } });
}

/** Tokens a sequence may have: what is asked for, at most what the model has positions for. */
export const lengthLimit = ({ config }: ModelPieces, maxLength: number | undefined): number =>
  Math.min(maxLength ?? Number.POSITIVE_INFINITY, config.maxPositions ?? Number.POSITIVE_INFINITY);

/** How a model's batches are laid out. */
export function packing({ architecture, config }: ModelPieces, layout: Layout | undefined): PackOptions {
  const size = architecture.layerSize?.(architecture.config(config.raw));
  return {
    ...(layout && { layout }),
    ...(config.padId !== undefined && { padId: config.padId }),
    ...(size && { attentionLength: attentionLength(size) }),
  };
}

export type Row = Readonly<Record<string, string>>;

/** @throws PeftError DATA_INVALID naming the row, the columns it needs and those it has */
export function missingColumns(row: Row, index: number, needed: string): PeftError {
  const columns = Object.keys(row);
  const message = `Row ${index} needs ${needed}; it has the columns ${columns.join(', ') || '(none)'}. Rename them with \`columns\`.`;
  return new PeftError('DATA_INVALID', message, { details: { row: index, columns } });
}
