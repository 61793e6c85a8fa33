import { type Adapter, attachDelta, type Backend } from '@peftjs/core';
import { generate, type Model, openDecoder } from '@peftjs/models';

/** What the model, with an adapter beside it when there is one, continues the prompts with. Always the likeliest token. */
export async function answers(
  model: Model,
  backend: Backend,
  prompts: readonly string[],
  adapter?: Adapter,
): Promise<string[]> {
  const tokenizer = model.tokenizer;
  if (!tokenizer) throw new Error(`${model.directory} has no tokenizer.`);
  const decoder = await openDecoder(model, {
    backend,
    ...(adapter && {
      edit: async (graph) => void (await attachDelta(graph, adapter, { parameters: model.parameters })),
    }),
  });
  try {
    const ids = prompts.map((prompt) => tokenizer.encode(prompt).ids);
    const completions = await generate(decoder, { prompts: ids, tokenizer, maxNewTokens: 48 }).result();
    return completions.map(({ text }) => text);
  } finally {
    await decoder.dispose();
  }
}
