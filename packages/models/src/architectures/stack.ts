import type { ShapedValue } from '@peftjs/core/graph';
import type { BuildOptions } from './architecture.js';
import type { Caching } from './cache.js';
import { attentionBias, type Grid, pastBias, type Reads, readInputs } from './grid.js';
import type { Body } from './heads.js';
import type { Net } from './net.js';

/** The tokens whose rows a layer computes: all of them, or in the last layer those that are read. */
export interface Asking {
  readonly grid: Grid;
  /** batch × 1 × asking tokens × all tokens; undefined where all see all. */
  readonly bias: ShapedValue | undefined;
  readonly reads?: Reads;
}

/** What a layer is given besides its hidden states. */
export interface LayerContext {
  readonly layer: number;
  readonly all: Grid;
  readonly asking: Asking;
  readonly caching?: Caching;
}

export interface StackOptions {
  readonly layers: number;
  /** A token sees only what comes before it, and itself. */
  readonly causal: boolean;
  /** Keys and values can be cached. */
  readonly cache?: boolean;
  /** Norm after the last layer. */
  readonly norm?: (h: ShapedValue) => ShapedValue;
  /** h [batch*length, width] -> the rows of `asking`. */
  readonly build: (h: ShapedValue, context: LayerContext) => ShapedValue;
}

/** Layers one after the other over embedded tokens h [batch*length, width]; the last one only for the rows read. */
export function stack(net: Net, grid: Grid, h: ShapedValue, options: BuildOptions, of: StackOptions): Body {
  const reads = options.read ? readInputs(net, grid) : undefined;
  const all: Asking = { grid, bias: attentionBias(net, grid, grid, of.causal) };
  const last: Asking = reads ? { grid: reads.grid, bias: attentionBias(net, reads.grid, grid, of.causal), reads } : all;
  const outputs: Record<string, ShapedValue> = {};
  const caching = options.cache && of.cache && startCache(net, outputs);
  let hidden = h;
  for (let layer = 0; layer < of.layers; layer++) {
    if (options.hiddenStates) outputs[`hidden_states.${layer}`] = hidden;
    const asking = layer === of.layers - 1 ? last : all;
    hidden = of.build(hidden, { layer, all: grid, asking, ...(caching && { caching }) });
  }
  hidden = of.norm?.(hidden) ?? hidden;
  if (options.hiddenStates) outputs[`hidden_states.${of.layers}`] = hidden;
  return { hidden, grid, outputs };
}

function startCache(net: Net, outputs: Record<string, ShapedValue>): Caching {
  return { outputs, bias: pastBias(net, net.ops.input('past_mask', 'i64', ['batch', 'past'])) };
}
