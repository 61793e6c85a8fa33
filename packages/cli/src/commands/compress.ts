import { compress as compressUpdate, PeftError, packCompressed, writeCompressed } from '@peftjs/core';
import * as z from 'zod';
import { openCalibration } from '../calibrate.js';
import { type Context, defineCommand } from '../command.js';
import { common } from '../common.js';
import { readUpdate } from '../delta-input.js';
import { integer, pairs, positive } from '../fields.js';
import { camelCase } from '../names.js';
import { loadPlugins, type Plugins } from '../plugins.js';
import { settings } from '../settings.js';

const options = z.object({
  codec: z.string().meta({ flags: '--codec <name>', description: 'compeft, bitdelta, ...' }),
  density: positive().optional().meta({ flags: '--density <part>', description: 'part of the numbers that survive' }),
  alpha: positive().optional().meta({ flags: '--alpha <factor>', description: 'factor of their magnitude' }),
  scope: z
    .string()
    .optional()
    .meta({ flags: '--scope <name>', description: 'what shares a budget: global, factor or tensor' }),
  set: pairs().meta({ flags: '--set <key=value...>', description: "keys of the codec's own configuration" }),
  base: z.string().optional().meta({
    flags: '--base <dir>',
    description: 'the base of a fine-tuned checkpoint: their difference is compressed; with --calibrate, the model',
  }),
  calibrate: z.string().optional().meta({
    flags: '--calibrate <file>',
    description: "rows (.tsv, .csv, .jsonl) on which the model is run: bitdelta's scales, deltazip's activations",
  }),
  columns: pairs(',').meta({
    flags: '--columns <pairs>',
    description: "renames the file's columns: text=sentence,label=y",
  }),
  task: z.string().optional().meta({ flags: '--task <name>', description: 'what the model is made for' }),
  maxLength: integer(1).optional().meta({ flags: '--max-length <n>', description: 'tokens a row is cut to' }),
  batchSize: integer(1).default(4).meta({ flags: '--batch-size <n>', description: 'rows of a batch' }),
  steps: integer(1).optional().meta({ flags: '--steps <n>', description: 'updates of the scales (bitdelta: 200)' }),
  lr: positive().optional().meta({ flags: '--lr <rate>', description: 'their rate (bitdelta: 1e-4)' }),
  ...common,
});

type Options = z.output<typeof options>;

/** @throws PeftError CONFIG_INVALID naming the codecs that are known */
function codecNamed(name: string, { codecs }: Plugins) {
  const found = codecs.find(({ codec }) => codec.name === name);
  if (found) return found;
  const known = codecs.map(({ codec }) => codec.name);
  const message = `There is no codec ${JSON.stringify(name)}; known: ${known.join(', ')}. Others come with --plugin PACKAGE.`;
  throw new PeftError('CONFIG_INVALID', message, { details: { codec: name, known } });
}

/** The codec's own options, as flags and keys give them. */
function configOf({ density, alpha, scope, set }: Options): Record<string, unknown> {
  const flags = Object.entries({ density, alpha, scope }).filter(([, value]) => value !== undefined);
  const keys = Object.entries(settings(set)).map(([key, value]) => [camelCase(key), value]);
  return Object.fromEntries([...keys, ...flags]);
}

/** Compresses what lies at a path. */
async function compressed(o: Options, context: Context, from: string) {
  const { output, signal } = context;
  const plugins = await loadPlugins(o.plugin);
  const found = codecNamed(o.codec, plugins);
  const own = configOf(o);
  const { config } = found(own as never); // what is wrong with it is told before anything is read
  const reading = { plugins, base: o.base, baseIsForReading: o.calibrate !== undefined, signal, warn: output.talk };
  const update = await readUpdate(from, reading);
  const calibrating = await openCalibration(o.codec, update, o, plugins.kinds, context);
  try {
    const bound = found({ ...own, ...calibrating.config } as never);
    const run = compressUpdate(bound, update, { kinds: plugins.kinds, signal });
    for await (const event of run) {
      const { type, ...fields } = event;
      output.event(type, fields);
      if (event.type === 'tensor') output.progress(event.path, event.done / event.total);
      else output.talk(event.message);
    }
    const made = await run.result();
    const refined = await calibrating.refine(made.adapter);
    return { file: refined === made.adapter ? made : await packCompressed(found.codec, refined), config };
  } finally {
    await calibrating.dispose();
  }
}

export const compress = defineCommand({
  name: 'compress',
  summary: 'compresses an adapter or a fine-tuned checkpoint into a small file',
  arguments: [
    ['<in>', 'an adapter in any format, a checkpoint (with --base), or a file of differences'],
    ['<out>', 'the file to write'],
  ],
  options,
  examples: [
    'peft compress ./adapter ./adapter.compeft --codec compeft --density 0.05',
    'peft compress ./tuned ./tuned.bitdelta --codec bitdelta --base ./base --calibrate rows.jsonl',
  ],
  async run(o, context, [from = '', to = '']) {
    const { file, config } = await compressed(o, context, from);
    await writeCompressed(to, file, { signal: context.signal });
    const { bytes, ratio, density: kept } = file;
    const figures = `${ratio.toFixed(1)} times smaller than float16, density ${kept.toPrecision(3)}`;
    context.output.data(`${bytes} bytes, ${figures}`);
    return { codec: o.codec, config, bytes, ratio, density: kept, output: to };
  },
});
