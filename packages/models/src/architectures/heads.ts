import type { ShapedValue } from '@peftjs/core/graph';
import type { BuildOptions, Head } from './architecture.js';
import type { Grid } from './grid.js';
import { linear, type Net } from './net.js';
import { pool } from './pooling.js';

/** A model without its head. */
export interface Body {
  /** The last hidden states, one row a token that is read. */
  readonly hidden: ShapedValue;
  readonly grid: Grid;
  /** What the options ask for besides: hidden states, new keys and values. */
  readonly outputs: Readonly<Record<string, ShapedValue>>;
}

/** Builds a body whose module paths begin with `prefix`. */
export type BuildBody<C> = (net: Net, config: C, prefix: string, options: BuildOptions) => Body;

/** Heads of the bare body, whose paths have no prefix. */
export const featureHeads = <C>(body: BuildBody<C>): Readonly<Record<'features' | 'embedding', Head<C>>> => ({
  features: {
    build(net, c, options) {
      const { hidden, outputs } = body(net, c, '', options);
      return { last_hidden_state: hidden, ...outputs };
    },
  },
  embedding: {
    token: 'first',
    build(net, c, options) {
      const { hidden, grid, outputs } = body(net, c, '', { ...options, read: false });
      return { embeddings: pool(net, hidden, grid, options.pooling), ...outputs };
    },
  },
});

/** Heads of a decoder: the next token, and one label read at the last token. Neither has a bias. */
export function decoderHeads<C extends { readonly hiddenSize: number; readonly vocabSize: number }>(
  prefix: string,
  body: BuildBody<C>,
): Readonly<Record<string, Head<C>>> {
  const linearHead = (module: string, classes: (c: C, options: BuildOptions) => number): Head<C> => ({
    module,
    token: 'last',
    build(net, c, options) {
      const { hidden, outputs } = body(net, c, prefix, options);
      const logits = linear(net, module, hidden, { in: c.hiddenSize, out: classes(c, options), head: true });
      return { logits, ...outputs };
    },
  });
  return {
    'causal-lm': linearHead('lm_head', (c) => c.vocabSize),
    'sequence-classification': linearHead('score', (_, options) => options.classes),
    ...featureHeads(body),
  };
}
