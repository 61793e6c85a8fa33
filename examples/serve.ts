import { fileURLToPath } from 'node:url';
import { createEngine, createServer } from '@peftjs/serve';
import OpenAI from 'openai';

// One base, two adapters, any OpenAI client: the model's name chooses the adapter, the base's own name means none.

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const engine = await createEngine({ model: here('demo/base'), slots: { adapters: 4, rank: 4 } });
await engine.adapters.put('style', here('fixtures/style'));
await engine.adapters.put('domain', here('fixtures/domain'));
const server = await createServer({ engine }).listen();
try {
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none' });
  for await (const model of client.models.list()) {
    const answer = await client.completions.create({
      model: model.id,
      prompt: 'Where does the fox live?',
      max_tokens: 16,
    });
    console.log(`${model.id}:${answer.choices[0]?.text}`);
  }
} finally {
  await server.close();
  await engine.dispose();
}
