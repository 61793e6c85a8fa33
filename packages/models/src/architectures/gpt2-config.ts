import * as z from 'zod';
import { type RawConfig, readFields } from '../config.js';
import { activations } from './activations.js';

/** A decoder of the GPT-2 family. */
export interface Gpt2Config {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly headDim: number;
  readonly positions: number;
  readonly layerNormEps: number;
  readonly activation: string;
  /** Divides the scores of layer i by i + 1 as well. */
  readonly scaleByLayer: boolean;
  readonly tiedHead: boolean;
}

const size = z.int().positive();
const Fields = z.looseObject({
  vocab_size: size,
  n_embd: size,
  n_layer: size,
  n_head: size,
  n_positions: size,
  n_inner: size.nullish(),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  activation_function: z.string().default('gelu_new'),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
  add_cross_attention: z.boolean().nullish(),
});

/** @throws PeftError FILE_INVALID, MODEL_UNSUPPORTED */
export function gpt2Config(raw: RawConfig): Gpt2Config {
  return readFields(raw, Fields, (f, unsupported) => {
    if (f.add_cross_attention) unsupported('add_cross_attention true');
    if (!f.scale_attn_weights) unsupported('scale_attn_weights false');
    if (!(f.activation_function in activations)) unsupported(`activation_function "${f.activation_function}"`);
    const headDim = f.n_embd / f.n_head;
    if (!Number.isInteger(headDim)) unsupported(`n_embd ${f.n_embd} over ${f.n_head} heads`);
    return {
      vocabSize: f.vocab_size,
      hiddenSize: f.n_embd,
      intermediateSize: f.n_inner ?? 4 * f.n_embd,
      layers: f.n_layer,
      heads: f.n_head,
      headDim,
      positions: f.n_positions,
      layerNormEps: f.layer_norm_epsilon,
      activation: f.activation_function,
      scaleByLayer: f.scale_attn_by_inverse_layer_idx,
      tiedHead: f.tie_word_embeddings,
    };
  });
}
