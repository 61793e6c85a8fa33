import { type Backend, type Feeds, type ModelGraph, PeftError } from '@peftjs/core';
import { optimize } from '@peftjs/core/graph';
import type { Tensor } from '@peftjs/core/tensor';
import { createKvCache, type KvCache } from './kv-cache.js';
import type { Model } from './load.js';

/** A compiled model that continues sequences. */
export interface Decoder {
  /** Ids that end a sequence. */
  readonly eosIds: readonly number[];
  createCache(options?: { rows?: number; capacity?: number }): KvCache;
  /**
   * Runs new tokens of cache rows `from` to `from + tokens.length` and writes their keys and values into the cache.
   * Returns the logits [rows, vocabulary] after each row's last token.
   * @param feeds what `edit` made the graph ask for
   */
  step(cache: KvCache, tokens: readonly (readonly number[])[], from?: number, feeds?: Feeds): Promise<Tensor>;
  dispose(): Promise<void>;
}

export interface DecoderOptions {
  readonly backend: Backend;
  /** Changes the graph before it is compiled, e.g. attaches adapters. */
  readonly edit?: (graph: ModelGraph) => void | Promise<void>;
  readonly signal?: AbortSignal;
}

/** @throws PeftError CONFIG_INVALID for a model that does not decode */
export async function openDecoder(
  model: Pick<Model, 'graph' | 'cache' | 'config' | 'name'>,
  options: DecoderOptions,
): Promise<Decoder> {
  const shape = model.cache;
  if (!shape) throw new PeftError('CONFIG_INVALID', `The model "${model.name}" does not decode.`);
  const graph = model.graph('decode');
  await options.edit?.(graph);
  optimize(graph.graph);
  const { signal } = options;
  const program = await options.backend.compile(graph.graph, { purpose: 'serve', ...(signal && { signal }) });
  const padId = model.config.padId ?? 0;

  return {
    eosIds: model.config.eosIds,
    createCache: (of) => createKvCache(shape, of),
    async step(cache, tokens, from = 0, feeds = {}) {
      const outputs = await program.run({
        ...feeds,
        ...newTokens(tokens, (row) => cache.length(from + row), padId),
        ...cache.feeds(from, from + tokens.length),
      });
      cache.append(
        outputs,
        from,
        tokens.map(({ length }) => [0, length] as const),
      );
      return outputs.logits!;
    },
    dispose: () => program.dispose(),
  };
}

/** Feeds of rows of new tokens, padded on the right; the last token of each row is read. */
function newTokens(
  tokens: readonly (readonly number[])[],
  past: (row: number) => number,
  padId: number,
): Record<string, Tensor> {
  const length = Math.max(...tokens.map((row) => row.length));
  const dims = [tokens.length, length];
  const fill = (value: (row: number, at: number) => number): Tensor => ({
    dtype: 'i64',
    shape: dims,
    data: BigInt64Array.from({ length: tokens.length * length }, (_, i) =>
      BigInt(value(Math.floor(i / length), i % length)),
    ),
  });
  return {
    input_ids: fill((row, at) => tokens[row]![at] ?? padId),
    attention_mask: fill((row, at) => Number(at < tokens[row]!.length)),
    position_ids: fill((row, at) => past(row) + at),
    read: {
      dtype: 'i64',
      shape: [tokens.length, 1],
      data: BigInt64Array.from(tokens, (row, i) => BigInt(i * length + row.length - 1)),
    },
  };
}
