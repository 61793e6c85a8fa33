import * as z from 'zod';
import { type RawConfig, readFields } from '../config.js';
import { activations } from './activations.js';

/** A vision transformer. */
export interface VitConfig {
  /** Height and width of an image in pixels. */
  readonly imageSize: readonly [number, number];
  readonly patchSize: readonly [number, number];
  readonly channels: number;
  /** Tokens of an image: its patches, and the class token before them. */
  readonly tokens: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly headDim: number;
  readonly layerNormEps: number;
  readonly activation: string;
  readonly qkvBias: boolean;
}

const size = z.int().positive();
/** One number for both sides, or height and width. */
const sides = z.union([size.transform((n) => [n, n] as const), z.tuple([size, size])]);
const Fields = z.looseObject({
  image_size: sides.default([224, 224]),
  patch_size: sides.default([16, 16]),
  num_channels: size.default(3),
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  layer_norm_eps: z.number().positive().default(1e-12),
  hidden_act: z.string().default('gelu'),
  qkv_bias: z.boolean().default(true),
});

/** @throws PeftError FILE_INVALID, MODEL_UNSUPPORTED */
export function vitConfig(raw: RawConfig): VitConfig {
  return readFields(raw, Fields, (f, unsupported) => {
    const [rows, columns] = [0, 1].map((i) => f.image_size[i]! / f.patch_size[i]!) as [number, number];
    if (!Number.isInteger(rows * columns) || !Number.isInteger(rows))
      unsupported(`image_size ${f.image_size.join('x')} in patches of ${f.patch_size.join('x')} (must divide)`);
    if (!(f.hidden_act in activations)) unsupported(`hidden_act "${f.hidden_act}"`);
    const headDim = f.hidden_size / f.num_attention_heads;
    if (!Number.isInteger(headDim)) unsupported(`hidden_size ${f.hidden_size} over ${f.num_attention_heads} heads`);
    return {
      imageSize: f.image_size,
      patchSize: f.patch_size,
      channels: f.num_channels,
      tokens: 1 + rows * columns,
      hiddenSize: f.hidden_size,
      intermediateSize: f.intermediate_size,
      layers: f.num_hidden_layers,
      heads: f.num_attention_heads,
      headDim,
      layerNormEps: f.layer_norm_eps,
      activation: f.hidden_act,
      qkvBias: f.qkv_bias,
    };
  });
}
