import { isPeftError } from '@peftjs/core';
import * as z from 'zod';
import { defineCommand } from '../command.js';
import { common } from '../common.js';
import { type Format, formatOf } from '../formats.js';
import { inspectAdapter } from '../inspect/adapter.js';
import { inspectCompressed } from '../inspect/compressed.js';
import type { Found } from '../inspect/found.js';
import { inspectGguf } from '../inspect/gguf.js';
import { inspectOnnx } from '../inspect/onnx.js';
import { inspectOnnxAdapter } from '../inspect/onnx-adapter.js';
import { inspectWeights } from '../inspect/weights.js';
import { loadPlugins, type Plugins } from '../plugins.js';

/** How each format is looked at. */
const looks: Readonly<Record<Format, (path: string, plugins: Plugins, base?: string) => Promise<Found>>> = {
  peft: inspectAdapter,
  model: inspectWeights,
  tensors: inspectWeights,
  gguf: inspectGguf,
  'onnx-adapter': inspectOnnxAdapter,
  onnx: inspectOnnx,
  compressed: inspectCompressed,
};

export const inspect = defineCommand({
  name: 'inspect',
  summary: 'says what a file or a folder is, and what is wrong with it',
  arguments: [
    ['<path>', 'an adapter (PEFT, compressed, .gguf, .onnx_adapter), a model directory, .onnx or .safetensors'],
  ],
  options: z.object({
    base: z.string().optional().meta({
      flags: '--base <dir>',
      description: 'the model of an adapter whose files do not say the shapes of what they change',
    }),
    ...common,
  }),
  async run(o, { output }, [path = '']) {
    const plugins = await loadPlugins(o.plugin);
    let found: Found;
    try {
      found = await looks[await formatOf(path, plugins.codecs)](path, plugins, o.base);
    } catch (error) {
      if (!isPeftError(error) || error.code === 'FILE_MISSING') throw error;
      // A file that cannot be used is what inspect is for: its problems are the answer.
      const { problems } = error.details;
      found = {
        kind: 'invalid',
        method: null,
        tensors: 0,
        bytes: 0,
        digest: null,
        problems: Array.isArray(problems) ? problems : [error.message],
      };
    }
    for (const [key, value] of Object.entries(found)) {
      const shown = typeof value === 'object' ? JSON.stringify(value) : String(value);
      if (key !== 'problems') output.data(`${key.padEnd(14)}${shown}`);
    }
    for (const problem of found.problems) output.data(`problem       ${problem}`);
    return found;
  },
});
