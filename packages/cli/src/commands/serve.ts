import { readdir } from 'node:fs/promises';
import { join, parse } from 'node:path';
import * as z from 'zod';
import { isAdapter, type ReadingOptions, readAnyAdapter } from '../any-adapter.js';
import { defineCommand } from '../command.js';
import { common, model } from '../common.js';
import { integer, pairs } from '../fields.js';
import { formatOf } from '../formats.js';
import { loadPlugins } from '../plugins.js';

const options = z.object({
  model,
  adapter: pairs().meta({ flags: '--adapter <name=path...>', description: 'adapters by the names clients ask for' }),
  registry: z
    .string()
    .optional()
    .meta({ flags: '--registry <dir>', description: 'a folder of adapters in any format, each under its own name' }),
  task: z
    .enum(['generate', 'embed', 'classify'])
    .default('generate')
    .meta({ flags: '--task <name>', description: 'generate, embed or classify' }),
  name: z.string().optional().meta({ flags: '--name <name>', description: "the base's name for clients" }),
  port: integer().default(8080).meta({ flags: '--port <n>', description: '0 is any free one' }),
  host: z
    .string()
    .default('127.0.0.1')
    .meta({ flags: '--host <address>', description: '0.0.0.0 opens it to the network' }),
  slots: integer(1).default(32).meta({ flags: '--slots <n>', description: 'adapters that lie ready at once' }),
  rank: integer(1).default(16).meta({ flags: '--rank <n>', description: 'largest rank of an adapter' }),
  maxBatch: integer(1).default(16).meta({ flags: '--max-batch <n>', description: 'rows of a batch' }),
  maxTokens: integer(1)
    .optional()
    .meta({ flags: '--max-tokens <n>', description: 'tokens of a prompt and its answer together' }),
  ...common,
});

/** Folders of a folder, and files that are adapters, by name; that of a file is without its ending. */
async function registryOf(directory: string | undefined, { plugins }: ReadingOptions): Promise<Record<string, string>> {
  if (directory === undefined) return {};
  const found: Record<string, string> = {};
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) found[entry.name] = path;
    else if (await isAdapter(path, plugins)) found[parse(entry.name).name] = path;
  }
  return found;
}

/** A folder as it is, so that the engine may read it again; what else holds an adapter is read. */
async function sourceOf(path: string, options: ReadingOptions) {
  const isFolder = (await formatOf(path, options.plugins.codecs)) === 'peft';
  return isFolder ? path : readAnyAdapter(path, options);
}

const until = (signal: AbortSignal) =>
  new Promise<void>((resolve) =>
    signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true }),
  );

export const serve = defineCommand({
  name: 'serve',
  summary: 'serves a base and many adapters over an OpenAI-compatible API',
  options,
  examples: ['peft serve --model ./base --adapter style=./style domain=./domain --port 8080'],
  async run(o, { output, signal }) {
    const { createEngine, createServer } = await import('@peftjs/serve'); // the other commands do without it
    const plugins = await loadPlugins(o.plugin);
    const engine = await createEngine({
      model: o.model,
      task: o.task,
      backend: { name: o.backend, device: o.device },
      slots: { adapters: o.slots, rank: o.rank },
      maxBatch: o.maxBatch,
      kinds: plugins.kinds,
      layouts: plugins.layouts,
      ...(o.name === undefined ? {} : { name: o.name }),
      ...(o.threads === undefined ? {} : { threads: o.threads }),
      ...(o.maxTokens === undefined ? {} : { maxTokens: o.maxTokens }),
    });
    try {
      const reading = { plugins, base: o.model, signal, warn: output.talk };
      const adapters = { ...(await registryOf(o.registry, reading)), ...(o.adapter as Record<string, string>) };
      for (const [name, path] of Object.entries(adapters))
        await engine.adapters.put(name, await sourceOf(path, reading));
      const server = createServer({
        engine,
        onFault: (error) => output.talk(String((error as Error)?.stack ?? error)),
      });
      const { url, close } = await server.listen({ port: o.port, host: o.host });
      const models = [engine.name, ...engine.adapters.list().map(({ name }) => name)];
      output.event('ready', { url, models });
      output.talk(`Serving ${models.join(', ')} at ${url}. Ctrl-C stops.`);
      await until(signal);
      output.talk('Stopping; requests that run are answered first. Ctrl-C again leaves at once.');
      await engine.drain();
      await close();
      return { url };
    } finally {
      await engine.dispose();
    }
  },
});
