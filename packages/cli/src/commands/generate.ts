import { readFile } from 'node:fs/promises';
import { attachDelta, PeftError, requireBase } from '@peftjs/core';
import { generate, type Model, openDecoder, rows } from '@peftjs/models';
import * as z from 'zod';
import { readAdapters } from '../adapters.js';
import { openBackend } from '../backend.js';
import { defineCommand } from '../command.js';
import { adapters, common, model } from '../common.js';
import { flag, fraction, integer, number } from '../fields.js';
import { loadPlugins } from '../plugins.js';
import { openModel } from '../tasks.js';
import { UsageError } from '../usage.js';

const options = z.object({
  model,
  adapter: adapters,
  prompt: z.string().optional().meta({ flags: '--prompt <text>', description: 'the text to continue' }),
  prompts: z
    .string()
    .optional()
    .meta({ flags: '--prompts <file>', description: 'a prompt a line, or .jsonl with `prompt`' }),
  chat: flag().meta({ flags: '--chat', description: "puts the prompt through the model's chat template" }),
  maxNewTokens: integer(1).default(128).meta({ flags: '--max-new-tokens <n>', description: 'new tokens at most' }),
  temperature: number(z.number().min(0)).default(0).meta({ flags: '--temperature <t>', description: '0 is greedy' }),
  topP: fraction().default(1).meta({ flags: '--top-p <part>', description: 'probability mass to draw from' }),
  batchSize: integer(1).default(16).meta({ flags: '--batch-size <n>', description: 'prompts continued together' }),
  ...common,
});

async function promptsOf({ prompt, prompts }: z.output<typeof options>): Promise<string[]> {
  if ((prompt === undefined) === (prompts === undefined)) throw new UsageError(['give either --prompt or --prompts']);
  if (prompt !== undefined) return [prompt];
  if (!prompts!.endsWith('.jsonl'))
    return (await readFile(prompts!, 'utf8')).split(/\r?\n/).filter((line) => line !== '');
  const read: string[] = [];
  for await (const row of rows(prompts!)) {
    if (row.prompt === undefined)
      throw new PeftError('DATA_INVALID', `Row ${read.length} of ${prompts} has no \`prompt\`.`);
    read.push(row.prompt);
  }
  return read;
}

/** Token ids of a prompt: the tokenizer's own start token before plain text, the template as it is. */
function encode({ name, tokenizer, chatTemplate }: Model, prompt: string, chat: boolean): number[] {
  if (!tokenizer) throw new PeftError('MODEL_UNSUPPORTED', `${name} has no tokenizer.`);
  const plain = (text: string) => tokenizer.encode(text, { specialTokens: false }).ids;
  if (!chat) return [...tokenizer.startIds, ...plain(prompt)];
  if (!chatTemplate) throw new PeftError('MODEL_UNSUPPORTED', `${name} has no chat template: leave --chat out.`);
  return plain(chatTemplate.render([{ role: 'user', content: prompt }]));
}

export const generateCommand = defineCommand({
  name: 'generate',
  summary: 'continues prompts, with any adapters',
  options,
  examples: ['peft generate --model ./base --adapter ./adapter --prompt "Once upon a time"'],
  async run(o, { output, signal }) {
    const began = performance.now();
    const prompts = await promptsOf(o);
    const plugins = await loadPlugins(o.plugin);
    const adapter = await readAdapters(o.adapter, { plugins, base: o.model, signal, warn: output.talk });
    const base = await openModel(o.model, 'causal-lm');
    await requireBase(base, adapter ? [adapter] : []);
    const encoded = prompts.map((prompt) => encode(base, prompt, o.chat));
    const backend = await openBackend(o, true);
    try {
      const { parameters } = base;
      const decoder = await openDecoder(base, {
        backend,
        signal,
        edit: async (graph) =>
          void (adapter && (await attachDelta(graph, adapter, { kinds: plugins.kinds, parameters }))),
      });
      let tokens = 0;
      for (let from = 0; from < prompts.length; from += o.batchSize) {
        const { maxNewTokens, temperature, topP, seed } = o;
        const batch = encoded.slice(from, from + o.batchSize);
        const run = generate(decoder, {
          prompts: batch,
          maxNewTokens,
          temperature,
          topP,
          seed,
          signal,
          ...(base.tokenizer ? { tokenizer: base.tokenizer } : {}),
        });
        for await (const _ of run)
          output.progress(`${from}/${prompts.length} prompts, ${++tokens} tokens`, from / prompts.length);
        for (const [i, { text, ids }] of (await run.result()).entries()) {
          output.event('completion', { prompt: prompts[from + i], text, tokens: ids });
          output.data(text);
        }
      }
      await decoder.dispose();
      return { prompts: prompts.length, tokens, seconds: (performance.now() - began) / 1000 };
    } finally {
      await backend.dispose();
    }
  },
});
