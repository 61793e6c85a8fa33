import { existsSync } from 'node:fs';
import { readAdapter, scale } from '@peftjs/core';
import { goldensPath, sharedPath } from '@peftjs/testkit';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngine, createServer, type Engine, type Listening } from '../src/index.js';

const stories = sharedPath('models', 'stories260k');
const goldens = goldensPath('methods');
const adapter = () => goldensPath('methods', 'cases', 'lora-qv-stories260k-nonzero', 'adapter_start')!;

describe.skipIf(!stories || !goldens)('HTTP over stories260k', () => {
  let engine: Engine;
  let server: Listening;
  let client: OpenAI;
  beforeAll(async () => {
    engine = await createEngine({ model: stories!, slots: { adapters: 2 }, maxBatch: 8 });
    await engine.adapters.put('tuned', adapter());
    // The golden adapter is a gentle one: four times as strong it changes the first words.
    await engine.adapters.put('strong', scale(await readAdapter(adapter()), 4));
    server = await createServer({ engine, bodyLimit: 10_000 }).listen();
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
  });
  afterAll(async () => {
    await server?.close();
    await engine?.dispose();
  });

  const complete = (model: string, rest = {}) =>
    client.completions.create({ model, prompt: 'Once upon a time', max_tokens: 12, temperature: 0, ...rest });
  const post = (path: string, body: unknown) =>
    fetch(`${server.url}${path}`, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) });

  it('lists the base and its adapters', async () => {
    const { data } = await client.models.list();
    expect(data.map(({ id }) => id)).toEqual(['stories260k', 'tuned', 'strong']);
    const tuned = await client.models.retrieve('tuned');
    expect(tuned).toMatchObject({ parent: 'stories260k', adapter: { method: 'lora', rank: 4, generation: 1 } });
    await expect(client.models.retrieve('nobody')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
  });

  it('completes with the base, an adapter by its name and by base:adapter', async () => {
    const [base, tuned, both] = await Promise.all([
      complete('stories260k'),
      complete('strong'),
      complete('stories260k:strong'),
    ]);
    expect(base.choices[0]!.text).toMatch(/^, there was a/);
    expect(tuned.choices[0]!.text).not.toBe(base.choices[0]!.text);
    expect(both.choices[0]!.text).toBe(tuned.choices[0]!.text);
    expect(base.usage).toEqual({
      prompt_tokens: expect.any(Number),
      completion_tokens: 12,
      total_tokens: base.usage!.prompt_tokens + 12,
    });
    expect(base.choices[0]!.finish_reason).toBe('length');
    expect(base).toMatchObject({ batch: { rows: 3, adapters: 1 } });
  });

  it('streams the same text in pieces, with the usage at the end', async () => {
    const whole = await complete('tuned');
    const stream = await complete('tuned', { stream: true, stream_options: { include_usage: true } });
    let text = '';
    const finishes: (string | null)[] = [];
    let usage: unknown;
    for await (const chunk of stream as unknown as AsyncIterable<OpenAI.Completion>) {
      for (const choice of chunk.choices) {
        text += choice.text;
        finishes.push(choice.finish_reason);
      }
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(whole.choices[0]!.text);
    expect(finishes.filter(Boolean)).toEqual(['length']);
    expect(usage).toEqual(whole.usage);
  });

  it('stops before a stop string', async () => {
    const { choices } = await complete('stories260k', { max_tokens: 60, stop: [' girl'] });
    expect(choices[0]).toMatchObject({ finish_reason: 'stop' });
    expect(choices[0]!.text).toMatch(/little$/);
  });

  it('draws by the seed', async () => {
    const draw = async (seed: number) =>
      (await complete('stories260k', { temperature: 1, top_p: 0.95, seed })).choices[0]!.text;
    const [a, b, c] = [await draw(1), await draw(1), await draw(2)];
    expect(a).toBe(b);
    expect(a).not.toBe(c);
  });

  it('takes token ids, and fields that change nothing', async () => {
    const { ids } = { ids: [1, 403, 407] };
    const { usage } = await complete('stories260k', {
      prompt: ids,
      user: 'someone',
      n: 1,
      presence_penalty: 0,
      logit_bias: {},
    });
    expect(usage!.prompt_tokens).toBe(3);
  });

  it('ends a sequence whose client hangs up', async () => {
    const stream = await complete('stories260k', { max_tokens: 400, stream: true });
    for await (const _ of stream as unknown as AsyncIterable<unknown>) break;
    await expect.poll(() => engine.state().running).toBe(0);
  });

  it.each([
    ['an unknown model', { model: 'nobody', prompt: 'x' }, 404, 'model_not_found'],
    ['an unknown field', { model: 'tuned', prompt: 'x', temprature: 1 }, 400, 'invalid_body'],
    ['a field that would change the answer', { model: 'tuned', prompt: 'x', n: 2 }, 400, 'invalid_body'],
    ['a wrong value', { model: 'tuned', prompt: 'x', temperature: 9 }, 400, 'invalid_body'],
    ['too long a prompt', { model: 'tuned', prompt: new Array(600).fill(5) }, 400, 'context_length_exceeded'],
    ['no JSON', '{', 400, 'invalid_json'],
    ['too large a body', { model: 'tuned', prompt: 'x'.repeat(20_000) }, 413, 'body_too_large'],
  ])('refuses %s', async (_, body, status, code) => {
    const response = await post('/v1/completions', body);
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual({
      error: {
        message: expect.any(String),
        type: 'invalid_request_error',
        param:
          status === 413 || code === 'invalid_json' || code === 'context_length_exceeded' ? null : expect.any(String),
        code,
      },
    });
  });

  it('names every problem of a body at once', async () => {
    const response = await post('/v1/completions', { prompt: 'x', temperature: 9, wrong: 1 });
    const { error } = (await response.json()) as { error: { message: string } };
    expect(error.message).toMatch(/model.*temperature.*wrong/s);
  });

  it('refuses tasks the base is not served for, and a chat without a template', async () => {
    expect((await post('/v1/embeddings', { model: 'stories260k', input: 'x' })).status).toBe(400);
    expect(
      (await post('/v1/chat/completions', { model: 'stories260k', messages: [{ role: 'user', content: 'x' }] })).status,
    ).toBe(400);
    expect((await post('/v1/nothing', {})).status).toBe(404);
  });

  it('tells its health and its metrics', async () => {
    expect((await fetch(`${server.url}/health/live`)).status).toBe(200);
    expect((await fetch(`${server.url}/health/ready`)).status).toBe(200);
    const text = await (await fetch(`${server.url}/metrics`)).text();
    expect(text).toMatch(/serve_requests_total\{route="\/v1\/completions",code="200"\} \d+/);
    expect(text).toMatch(/serve_tokens_total\{kind="completion"\} \d+/);
    expect(text).toMatch(/serve_batch_rows_count \d+/);
    expect(text).toMatch(/serve_adapters_resident 2/);
  });

  it('says clearly that a port is in use', async () => {
    const port = Number(new URL(server.url).port);
    await expect(createServer({ engine }).listen({ port })).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringContaining(String(port)),
    });
  });

  it('answers what runs before it closes', async () => {
    const second = await createServer({ engine }).listen();
    const answer = fetch(`${second.url}/v1/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'tuned', prompt: 'x', max_tokens: 100 }),
    });
    await isRunning(engine);
    await second.close();
    expect((await answer).status).toBe(200);
    await expect(fetch(`${second.url}/health/live`)).rejects.toThrow();
  });
});

/** A short answer takes less than the usual pause between two looks. */
const isRunning = (engine: Engine) => expect.poll(() => engine.state().running, { interval: 1 }).toBe(1);

describe.skipIf(!stories)('a server with little room', () => {
  it('turns away with 429 what it cannot hold, and with 503 what comes while it stops', async () => {
    const engine = await createEngine({ model: stories!, maxBatch: 1, maxWaiting: 1 });
    const server = await createServer({ engine }).listen();
    const ask = (max_tokens = 60) => {
      const body = JSON.stringify({ model: 'stories260k', prompt: 'Once', max_tokens, temperature: 0 });
      return fetch(`${server.url}/v1/completions`, { method: 'POST', body });
    };
    const answers = await Promise.all(Array.from({ length: 6 }, () => ask()));
    const statuses = answers.map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([200, 429]));
    const busy = answers.find(({ status }) => status === 429)!;
    expect(busy.headers.get('retry-after')).toBe('1');
    expect(await busy.json()).toMatchObject({ error: { type: 'rate_limit_error', code: 'server_busy' } });

    const last = ask(400);
    await isRunning(engine);
    const drained = engine.drain();
    expect((await ask()).status).toBe(503);
    expect((await fetch(`${server.url}/health/ready`)).status).toBe(503);
    await drained;
    expect((await last).status).toBe(200);
    await server.close();
    await engine.dispose();
  });
});

describe.skipIf(!sharedPath('models', 'all-MiniLM-L6-v2'))('HTTP over all-MiniLM-L6-v2', () => {
  it('embeds as float and as base64 the same', async () => {
    const engine = await createEngine({
      model: sharedPath('models', 'all-MiniLM-L6-v2')!,
      task: 'embed',
      name: 'minilm',
      slots: { adapters: 1 },
    });
    const server = await createServer({ engine }).listen();
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none' });
    const input = ['a cat', 'a dog'];
    const decoded = await client.embeddings.create({ model: 'minilm', input }); // the client asks for base64 and decodes it
    const plain = await client.embeddings.create({ model: 'minilm', input, encoding_format: 'float' });
    expect(decoded.data[0]!.embedding).toHaveLength(384);
    for (const i of [0, 1]) expect(decoded.data[i]!.embedding).toEqual(plain.data[i]!.embedding);
    expect(plain.usage.prompt_tokens).toBe(8);
    await server.close();
    await engine.dispose();
  });
});

const smol = process.env.PEFTJS_SMOLLM2;
describe.skipIf(!smol || !existsSync(smol))('chat over SmolLM2 (PEFTJS_SMOLLM2)', () => {
  it('answers through the chat template, streaming and not', { timeout: 180_000 }, async () => {
    const engine = await createEngine({ model: smol!, name: 'smollm2', slots: { adapters: 2 } });
    const server = await createServer({ engine }).listen();
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none' });
    const request = {
      model: 'smollm2',
      messages: [{ role: 'user' as const, content: 'What is the capital of France?' }],
      max_tokens: 12,
      temperature: 0,
    };
    const whole = await client.chat.completions.create(request);
    expect(whole.choices[0]!.message.content).toContain('Paris');
    let text = '';
    for await (const chunk of await client.chat.completions.create({ ...request, stream: true }))
      text += chunk.choices[0]?.delta.content ?? '';
    expect(text).toBe(whole.choices[0]!.message.content);
    const { choices } = await client.completions.create({
      model: 'smollm2',
      prompt: 'The capital of France is',
      max_tokens: 4,
      temperature: 0,
    });
    expect(choices[0]!.text).toBe(' Paris.\n\n');
    await server.close();
    await engine.dispose();
  });
});
