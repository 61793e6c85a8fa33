import type { ShapedValue } from '@peftjs/core/graph';
import type { RawConfig } from '../config.js';
import type { LayerSize } from './balance.js';
import type { Net } from './net.js';
import type { Pooling } from './pooling.js';

/** What one form of a model's graph has. */
export interface BuildOptions {
  /** Outputs only the rows that the input `read` names; all rows otherwise. */
  readonly read: boolean;
  /** Takes cached keys and values and returns the new ones. */
  readonly cache: boolean;
  /**
   * Also outputs `hidden_states.0` (the embeddings) to `hidden_states.N` (after the last layer), as transformers has
   * them: those of decoders after the final norm, those of a vision transformer before it.
   */
  readonly hiddenStates: boolean;
  /** Number of labels of a classification head. */
  readonly classes: number;
  readonly pooling: Pooling;
}

/** Something a model can answer. */
export interface Head<C> {
  /** Path of the module that a new task brings along when the checkpoint has none. */
  readonly module?: string;
  /** Which token of a sequence it reads. */
  readonly token?: 'first' | 'last';
  build(net: Net, config: C, options: BuildOptions): Record<string, ShapedValue>;
}

/** Extents of the key/value cache of a decoder. */
export interface CacheShape {
  readonly layers: number;
  /** Of every layer, or layer by layer where they differ. */
  readonly kvHeads: number | readonly number[];
  readonly headDim: number;
}

/** What a model looks at. */
export interface ImageShape {
  readonly channels: number;
  /** Height and width in pixels. */
  readonly size: readonly [number, number];
  /** Tokens that it becomes. */
  readonly tokens: number;
}

/** How one family of Hugging Face models becomes graphs. */
export interface Architecture<C = unknown> {
  readonly spec: 'v1';
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** Module that holds the body in models with a head; checkpoints of the bare body leave it out of their names. */
  readonly bodyPrefix: string;
  /** Whether it tells the texts of a pair apart (input `token_type_ids`). */
  readonly tokenTypes?: boolean;
  /** @throws PeftError MODEL_UNSUPPORTED naming every feature this version does not build, FILE_INVALID */
  config(raw: RawConfig): C;
  readonly heads: Readonly<Record<string, Head<C>>>;
  cache?(config: C): CacheShape;
  /** What a vision model sees (input `pixel_values` [batch, channels, ...size]). */
  image?(config: C): ImageShape;
  /** Size of one layer, which tells how to lay out batches. */
  layerSize?(config: C): LayerSize;
  /** Parameters that are another one under a second name: alias -> source. */
  tied?(config: C): Readonly<Record<string, string>>;
  /** Other names that checkpoints have for a parameter and adapters for a module, always as many. */
  aliases?(path: string): readonly string[];
}

export const defineArchitecture = <C>(architecture: Omit<Architecture<C>, 'spec'>): Architecture<C> => ({
  spec: 'v1',
  ...architecture,
});
