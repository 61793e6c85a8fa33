import type { Hono } from 'hono';
import type { Engine } from '../engine/types.js';
import { readBody } from './body.js';
import { answer, type Form } from './generation.js';
import { chatBody, completionBody } from './schemas.js';

const chat: Form = {
  prefix: 'chatcmpl',
  object: 'chat.completion',
  chunk: 'chat.completion.chunk',
  whole: (text) => ({ message: { role: 'assistant', content: text, refusal: null } }),
  opening: { delta: { role: 'assistant', content: '' } },
  piece: (text) => ({ delta: { content: text } }),
  closing: { delta: {} },
};

const plain: Form = {
  prefix: 'cmpl',
  object: 'text_completion',
  chunk: 'text_completion',
  whole: (text) => ({ text }),
  piece: (text) => ({ text }),
  closing: { text: '' },
};

/** New tokens of a plain completion that names no limit, as in OpenAI's API. */
const DEFAULT_COMPLETION_TOKENS = 16;

export function completionRoutes(app: Hono, engine: Engine): void {
  app.post('/v1/chat/completions', async (c) => {
    const body = await readBody(c, chatBody);
    const maxTokens = body.max_completion_tokens ?? body.max_tokens;
    const messages = body.messages.map(({ role, content }) => ({
      role: role === 'developer' ? 'system' : role,
      content,
    }));
    return answer(c, engine, chat, body, { messages, ...(maxTokens == null ? {} : { maxTokens }) });
  });

  app.post('/v1/completions', async (c) => {
    const body = await readBody(c, completionBody);
    const input = typeof body.prompt === 'string' ? { prompt: body.prompt } : { tokens: body.prompt };
    return answer(c, engine, plain, body, { ...input, maxTokens: body.max_tokens ?? DEFAULT_COMPLETION_TOKENS });
  });
}
