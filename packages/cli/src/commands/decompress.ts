import {
  type Adapter,
  applyDelta,
  decompress as expand,
  readCompressed,
  type TensorRef,
  writeAdapter,
} from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import * as z from 'zod';
import { defineCommand } from '../command.js';
import { common } from '../common.js';
import { loadPlugins } from '../plugins.js';

const FILE = /\.safetensors$/;

/** The whole update of every parameter, and replaced parameters as they are, under their paths. */
function differences({ delta, replaced }: Adapter): Map<string, TensorRef> {
  const zeros = new Map([...delta.shape].map(([path, shape]) => [path, zero(shape)] as const));
  return new Map([...applyDelta(zeros, delta), ...replaced]);
}

const zero = (shape: readonly number[]): TensorRef => ({
  dtype: 'f32',
  shape,
  async read({ from = 0, to = shape[0] ?? 1 } = {}) {
    const part = shape.length > 0 ? [to - from, ...shape.slice(1)] : [];
    return { dtype: 'f32', shape: part, data: new Float32Array(part.reduce((n, d) => n * d, 1)) };
  },
});

export const decompress = defineCommand({
  name: 'decompress',
  summary: 'unpacks a compressed file into an adapter, or into a .safetensors file of differences',
  arguments: [
    ['<in>', 'a compressed file'],
    ['<out>', "an adapter's folder, or a .safetensors file"],
  ],
  options: z.object(common),
  examples: ['peft decompress ./adapter.compeft ./adapter'],
  async run(o, { output, signal }, [from = '', to = '']) {
    const { codecs, kinds, layouts } = await loadPlugins(o.plugin);
    const file = await readCompressed(from, { codecs, signal });
    const adapter = await expand(file, { codecs });
    if (FILE.test(to)) await writeSafetensors(to, differences(adapter), { signal });
    else await writeAdapter(to, adapter, { kinds, layouts, signal });
    output.talk(`Written to ${to}.`);
    const { codec, bytes, ratio, density } = file;
    return { codec, bytes, ratio, density, parameters: adapter.delta.params.size, digest: adapter.digest, output: to };
  },
});
