import type { Hono } from 'hono';
import type { Engine } from '../engine/types.js';
import { readBody } from './body.js';
import { classifyBody, embeddingBody } from './schemas.js';
import { selectAdapter } from './select.js';

const usageOf = (tokens: number) => ({ prompt_tokens: tokens, total_tokens: tokens });

/** Little-endian float32, as OpenAI's clients ask for and decode. */
const base64 = (vector: Float32Array) =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64');

/** `/v1/embeddings` and `/v1/classify`: texts that are read once. */
export function readingRoutes(app: Hono, engine: Engine): void {
  app.post('/v1/embeddings', async (c) => {
    const { model, input, encoding_format } = await readBody(c, embeddingBody);
    const adapter = selectAdapter(engine, model);
    const options = { signal: c.req.raw.signal, ...(adapter ? { adapter: adapter.name } : {}) };
    const { vectors, promptTokens, batch, digest } = await engine.embed(input, options);
    if (digest) c.header('x-adapter-digest', digest);
    const data = vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: encoding_format === 'base64' ? base64(vector) : Array.from(vector),
    }));
    return c.json({ object: 'list', data, model, usage: usageOf(promptTokens), batch });
  });

  app.post('/v1/classify', async (c) => {
    const { model, input } = await readBody(c, classifyBody);
    const adapter = selectAdapter(engine, model);
    const options = { signal: c.req.raw.signal, ...(adapter ? { adapter: adapter.name } : {}) };
    const { results, promptTokens, batch, digest } = await engine.classify(input, options);
    if (digest) c.header('x-adapter-digest', digest);
    const data = results.map((result, index) => ({ object: 'classification', index, ...result }));
    return c.json({ object: 'list', data, model, usage: usageOf(promptTokens), batch });
  });
}
