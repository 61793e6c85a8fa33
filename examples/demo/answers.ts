import type { Adapter, Backend } from '@peftjs/core';
import { type Model, openWriter } from '@peftjs/models';

/** What the model, with an adapter beside it when there is one, continues the prompts with. Always the likeliest token. */
export async function answers(
  model: Model,
  backend: Backend,
  prompts: readonly string[],
  adapter?: Adapter,
): Promise<string[]> {
  const writer = await openWriter(model, { backend, adapters: adapter ? [adapter] : [] });
  try {
    const completions = await writer.generate(prompts, { maxNewTokens: 48 }).result();
    return completions.map(({ text }) => text);
  } finally {
    await writer.dispose();
  }
}
