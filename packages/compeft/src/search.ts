import {
  type Adapter,
  type Compressed,
  type CompressOptions,
  compress,
  createRun,
  type Delta,
  PeftError,
  type Run,
} from '@peftjs/core';
import * as z from 'zod';
import { compeft } from './codec.js';
import type { CompeftOptions } from './config.js';

/** Sent after every alpha that was tried. */
export const AlphaEvent = z.object({ type: z.literal('alpha'), alpha: z.number(), score: z.number() });
export type AlphaEvent = z.output<typeof AlphaEvent>;

export interface AlphaSearch {
  readonly alpha: number;
  readonly score: number;
  readonly scores: readonly { readonly alpha: number; readonly score: number }[];
  readonly compressed: Compressed;
}

/** The values that the paper tries. */
const paperAlphas: readonly number[] = [0.5, 1, 2, 3, 4, 5, 6, 8, 10];

export interface AlphaSearchOptions extends CompressOptions, Omit<CompeftOptions, 'alpha'> {
  readonly alphas?: readonly number[];
}

/**
 * Chooses alpha by a score on validation data: higher is better, and of equal ones the first that was tried.
 * @throws PeftError CONFIG_INVALID when no alpha is given or every score is NaN
 */
export function searchAlpha(
  input: Adapter | Delta,
  validate: (adapter: Adapter, alpha: number) => Promise<number>,
  options: AlphaSearchOptions = {},
): Run<AlphaEvent, AlphaSearch> {
  const { alphas = paperAlphas, kinds, signal, ...config } = options;
  async function* work(own: AbortSignal): AsyncGenerator<AlphaEvent, AlphaSearch, void> {
    const scores: { alpha: number; score: number }[] = [];
    const inner = { signal: own, ...(kinds && { kinds }) };
    let best: Omit<AlphaSearch, 'scores'> | undefined;
    for (const alpha of alphas) {
      const compressed = await compress(compeft({ ...config, alpha }), input, inner).result();
      const score = await validate(compressed.adapter, alpha);
      scores.push({ alpha, score });
      if (score > (best?.score ?? Number.NEGATIVE_INFINITY)) best = { alpha, score, compressed };
      yield { type: 'alpha', alpha, score };
    }
    if (!best) throw new PeftError('CONFIG_INVALID', `No alpha of [${alphas}] has a score that is a number.`);
    return { ...best, scores };
  }
  return createRun(work, signal);
}
