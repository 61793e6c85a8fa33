import { compress as compressUpdate, PeftError, writeCompressed } from '@peftjs/core';
import { z } from 'zod';
import { defineCommand } from '../command.js';
import { common } from '../common.js';
import { readUpdate } from '../delta-input.js';
import { pairs, positive } from '../fields.js';
import { camelCase } from '../names.js';
import { loadPlugins } from '../plugins.js';
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
    description: 'the base of a fine-tuned checkpoint: their difference is compressed',
  }),
  ...common,
});

export const compress = defineCommand({
  name: 'compress',
  summary: 'compresses an adapter or a fine-tuned checkpoint into a small file',
  arguments: [
    ['<in>', 'an adapter, a checkpoint (with --base), or a file of differences'],
    ['<out>', 'the file to write'],
  ],
  options,
  examples: ['peft compress ./adapter ./adapter.compeft --codec compeft --density 0.05'],
  async run(o, { output, signal }, [from = '', to = '']) {
    const plugins = await loadPlugins(o.plugin);
    const found = plugins.codecs.find(({ codec }) => codec.name === o.codec);
    if (!found) {
      const known = plugins.codecs.map(({ codec }) => codec.name);
      const message = `There is no codec ${JSON.stringify(o.codec)}; known: ${known.join(', ')}. Others come with --plugin PACKAGE.`;
      throw new PeftError('CONFIG_INVALID', message, { details: { codec: o.codec, known } });
    }
    const { density, alpha, scope } = o;
    const flags = Object.entries({ density, alpha, scope }).filter(([, value]) => value !== undefined);
    const set = Object.entries(settings(o.set)).map(([key, value]) => [camelCase(key), value]);
    const bound = found(Object.fromEntries([...set, ...flags]) as never);
    const update = await readUpdate(from, o.base, plugins, output.talk);
    const run = compressUpdate(bound, update, { kinds: plugins.kinds, signal });
    for await (const event of run) {
      const { type, ...fields } = event;
      output.event(type, fields);
      if (event.type === 'tensor') output.progress(event.path, event.done / event.total);
      else output.talk(event.message);
    }
    const made = await run.result();
    await writeCompressed(to, made, { signal });
    const { bytes, ratio, density: kept } = made;
    output.data(`${bytes} bytes, ${ratio.toFixed(1)} times smaller than float16, density ${kept.toPrecision(3)}`);
    return { codec: o.codec, config: bound.config, bytes, ratio, density: kept, output: to };
  },
});
