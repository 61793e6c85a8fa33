import * as z from 'zod';
import { type RawConfig, readFields } from '../config.js';
import { activations } from './activations.js';

/** A decoder of the Llama family, with the names of its extents as in the papers. */
export interface LlamaConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly activation: string;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  readonly tiedHead: boolean;
}

const size = z.int().positive();
const Rope = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(), // the older name
  rope_theta: z.number().positive().optional(),
  partial_rotary_factor: z.number().optional(),
});

const Fields = z.looseObject({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().nullish(),
  rope_parameters: Rope.nullish(), // transformers 5
  rope_scaling: Rope.nullish(),
  partial_rotary_factor: z.number().nullish(),
  hidden_act: z.string().default('silu'),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
  layer_types: z.array(z.string()).nullish(),
  sliding_window: z.int().nullish(),
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.int().nullish(),
});

/** @throws PeftError FILE_INVALID, MODEL_UNSUPPORTED */
export function llamaConfig(raw: RawConfig, family: { readonly qkvBias?: boolean }): LlamaConfig {
  return readFields(raw, Fields, (f, unsupported) => {
    const rope = f.rope_parameters ?? f.rope_scaling ?? {};
    const type = rope.rope_type ?? rope.type ?? 'default';
    if (type !== 'default') unsupported(`rotary scaling of type "${type}" (built is "default")`);
    const part = rope.partial_rotary_factor ?? f.partial_rotary_factor ?? 1;
    if (part !== 1) unsupported(`partial_rotary_factor ${part} (built is 1)`);
    if (!(f.hidden_act in activations)) unsupported(`hidden_act "${f.hidden_act}"`);
    const windows = f.layer_types
      ? f.layer_types.filter((t) => t !== 'full_attention')
      : f.sliding_window && f.use_sliding_window && (f.max_window_layers ?? 0) < f.num_hidden_layers
        ? ['sliding_attention']
        : [];
    if (windows.length > 0) unsupported(`attention of type "${windows[0]}" (built is "full_attention")`);
    const kvHeads = f.num_key_value_heads ?? f.num_attention_heads;
    if (f.num_attention_heads % kvHeads !== 0)
      unsupported(`${f.num_attention_heads} query heads over ${kvHeads} key heads (must divide)`);
    const headDim = f.head_dim ?? f.hidden_size / f.num_attention_heads;
    if (!Number.isInteger(headDim) || headDim % 2 !== 0) unsupported(`heads of ${headDim} channels (must be even)`);
    return {
      vocabSize: f.vocab_size,
      hiddenSize: f.hidden_size,
      intermediateSize: f.intermediate_size,
      layers: f.num_hidden_layers,
      heads: f.num_attention_heads,
      kvHeads,
      headDim,
      rmsNormEps: f.rms_norm_eps,
      ropeTheta: rope.rope_theta ?? f.rope_theta ?? 10_000,
      activation: f.hidden_act,
      qkvBias: family.qkvBias ?? f.attention_bias,
      outputBias: family.qkvBias ? false : f.attention_bias,
      mlpBias: f.mlp_bias,
      tiedHead: f.tie_word_embeddings,
    };
  });
}
