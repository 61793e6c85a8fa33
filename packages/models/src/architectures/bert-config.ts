import * as z from 'zod';
import { type RawConfig, readFields } from '../config.js';
import { activations } from './activations.js';

/** An encoder of the BERT family. */
export interface BertConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly headDim: number;
  readonly positions: number;
  readonly tokenTypes: number;
  readonly layerNormEps: number;
  readonly activation: string;
}

const size = z.int().positive();
const Fields = z.looseObject({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  max_position_embeddings: size,
  type_vocab_size: size.default(2),
  layer_norm_eps: z.number().positive().default(1e-12),
  hidden_act: z.string().default('gelu'),
  position_embedding_type: z.string().nullish(),
  is_decoder: z.boolean().nullish(),
  add_cross_attention: z.boolean().nullish(),
});

/** @throws PeftError FILE_INVALID, MODEL_UNSUPPORTED */
export function bertConfig(raw: RawConfig): BertConfig {
  return readFields(raw, Fields, (f, unsupported) => {
    const positions = f.position_embedding_type ?? 'absolute';
    if (positions !== 'absolute') unsupported(`position_embedding_type "${positions}" (built is "absolute")`);
    if (f.is_decoder) unsupported('is_decoder true');
    if (f.add_cross_attention) unsupported('add_cross_attention true');
    if (!(f.hidden_act in activations)) unsupported(`hidden_act "${f.hidden_act}"`);
    const headDim = f.hidden_size / f.num_attention_heads;
    if (!Number.isInteger(headDim)) unsupported(`hidden_size ${f.hidden_size} over ${f.num_attention_heads} heads`);
    return {
      vocabSize: f.vocab_size,
      hiddenSize: f.hidden_size,
      intermediateSize: f.intermediate_size,
      layers: f.num_hidden_layers,
      heads: f.num_attention_heads,
      headDim,
      positions: f.max_position_embeddings,
      tokenTypes: f.type_vocab_size,
      layerNormEps: f.layer_norm_eps,
      activation: f.hidden_act,
    };
  });
}
