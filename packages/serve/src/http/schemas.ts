import * as z from 'zod';

/**
 * Fields of OpenAI's API that change nothing here: clients send them, so they are read over.
 * Anything else that is not understood is refused rather than ignored.
 */
const harmless = {
  user: z.unknown().optional(),
  store: z.unknown().optional(),
  metadata: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
};

/** A field that is only taken at the value that asks for nothing. */
const only = (...neutral: unknown[]) =>
  z
    .unknown()
    .optional()
    .refine((value) => value == null || neutral.some((n) => JSON.stringify(n) === JSON.stringify(value)), {
      error: `is not supported${neutral.length > 0 ? `, except as ${neutral.map((n) => JSON.stringify(n)).join(' or ')}` : ''}`,
    });

const sampling = {
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(4)]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), include_obfuscation: z.boolean().optional() })
    .nullish(),
  n: only(1),
  presence_penalty: only(0),
  frequency_penalty: only(0),
  logit_bias: only({}),
};

const model = z.string().min(1);

const content = z.union([
  z.string(),
  z
    .array(z.strictObject({ type: z.literal('text'), text: z.string() }))
    .transform((parts) => parts.map((p) => p.text).join('')),
]);

export const chatBody = z.strictObject({
  model,
  messages: z
    .array(
      z.strictObject({
        role: z.enum(['system', 'developer', 'user', 'assistant']),
        content,
        name: z.string().optional(),
      }),
    )
    .min(1),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  ...sampling,
  logprobs: only(false),
  top_logprobs: only(0),
  tools: only([]),
  tool_choice: only('none', 'auto'),
  parallel_tool_calls: z.unknown().optional(),
  response_format: only({ type: 'text' }),
  modalities: only(['text']),
  ...harmless,
});

export const completionBody = z.strictObject({
  model,
  /** A text or its token ids. */
  prompt: z.union([z.string(), z.array(z.int().min(0)).min(1)]),
  max_tokens: z.int().min(1).nullish(),
  ...sampling,
  logprobs: only(),
  echo: only(false),
  best_of: only(1),
  suffix: only(),
  ...harmless,
});

const texts = z.union([
  z.string().transform((text) => [text]),
  z.array(z.string()).min(1).max(2048),
  z
    .array(z.int().min(0))
    .min(1)
    .transform((tokens) => [tokens]),
  z
    .array(z.array(z.int().min(0)).min(1))
    .min(1)
    .max(2048),
]);

export const embeddingBody = z.strictObject({
  model,
  input: texts,
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: only(),
  ...harmless,
});

export const classifyBody = z.strictObject({ model, input: texts, ...harmless });
