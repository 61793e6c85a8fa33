import { slotNames } from '@peftjs/core';
import * as z from 'zod';
import { defineCommand } from '../command.js';
import { common } from '../common.js';
import type { Conversion } from '../convert/conversion.js';
import { writers } from '../convert/write.js';
import { list } from '../fields.js';
import { formatOf } from '../formats.js';
import { loadPlugins } from '../plugins.js';

const keysOf = <T extends object>(record: T) => Object.keys(record) as [keyof T & string, ...(keyof T & string)[]];

const options = z.object({
  to: z.enum(keysOf(writers)).meta({ flags: '--to <format>', description: keysOf(writers).join(', ') }),
  base: z.string().optional().meta({
    flags: '--base <dir>',
    description: 'the base model: a Hugging Face directory, or an ONNX model for --to onnx',
  }),
  layout: z.string().optional().meta({
    flags: '--layout <type>',
    description: 'the peft_type for --to peft; the first that holds the adapter exactly where none is given',
  }),
  dtype: z
    .enum(['f32', 'f16'])
    .default('f32')
    .meta({ flags: '--dtype <type>', description: 'f32 or f16: of the factors in GGUF and .onnx_adapter' }),
  targetModules: list()
    .optional()
    .meta({ flags: '--target-modules <names>', description: 'modules of an ONNX model that get inputs: a,b' }),
  heads: z.coerce.number().int().nonnegative().default(0).meta({
    flags: '--heads <n>',
    description: 'key and value heads that go of every layer for --to pruned, those that the adapter changes least',
  }),
  channels: z.coerce.number().min(0).lt(1).default(0).meta({
    flags: '--channels <part>',
    description: 'part of the feed-forward channels that goes of every layer for --to pruned',
  }),
  names: z
    .enum(keysOf(slotNames))
    .default('olive')
    .meta({ flags: '--names <custom>', description: `names of such inputs: ${keysOf(slotNames).join(', ')}` }),
  ...common,
});

export const convert = defineCommand({
  name: 'convert',
  summary: 'turns adapters and models into other formats',
  arguments: [
    ['<in>', 'an adapter (PEFT, compressed, .gguf, .onnx_adapter), an ONNX model or a model directory'],
    ['<out>', 'the file or folder that is written'],
  ],
  options,
  examples: [
    'peft convert ./adapter adapter.gguf --to gguf --base ./base',
    'peft convert ./adapter adapter.onnx_adapter --to onnx-adapter',
    'peft convert ./sparse ./supertuning --to peft --layout SUPERTUNING',
    'peft convert model.onnx adapter-ready.onnx --to onnx --target-modules q_proj,v_proj',
    'peft convert ./adapter ./smaller --to pruned --base ./base --heads 3 --channels 0.4',
    'peft convert ./adapter with-adapter.onnx --to onnx --base model.onnx',
  ],
  async run(o, { output, signal }, [path = '', out = '']) {
    const began = performance.now();
    const plugins = await loadPlugins(o.plugin);
    const conversion: Conversion = {
      path,
      format: await formatOf(path, plugins.codecs),
      base: o.base,
      plugins,
      warn: output.talk,
      output: out,
      layout: o.layout,
      dtype: o.dtype,
      names: o.names,
      targetModules: o.targetModules,
      fewer: { heads: o.heads, channels: o.channels },
      signal,
    };
    const result = await writers[o.to](conversion);
    output.talk(`Written to ${out}.`);
    const { format: from } = conversion;
    return { from, to: o.to, ...result, seconds: (performance.now() - began) / 1000, output: out };
  },
});
