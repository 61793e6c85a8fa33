import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isPeftError, PeftError, readAdapter, type TensorRef } from '@peftjs/core';
import { digestTensors, openWeights } from '@peftjs/core/files';
import { z } from 'zod';
import { defineCommand, type Result } from '../command.js';
import { common } from '../common.js';
import { loadPlugins, type Plugins } from '../plugins.js';

/** What was found at a path. */
interface Found extends Result {
  readonly kind: string;
  readonly problems: readonly string[];
}

/** Bytes of a tensor as it lies in its file. */
const bytesOf = (refs: Iterable<TensorRef>): number => [...refs].reduce((sum, { file }) => sum + (file?.bytes ?? 0), 0);

const dtypesOf = (refs: Iterable<TensorRef>): string[] => [...new Set([...refs].map(({ dtype }) => dtype))];

async function inspectAdapter(path: string, { layouts }: Plugins): Promise<Found> {
  const problems: string[] = [];
  const weights = await openWeights(join(path, 'adapter_model.safetensors'));
  const { tensors } = weights;
  const adapter = await readAdapter(path, { layouts, warn: (message) => problems.push(message) });
  const terms = [...adapter.delta.params.values()].flat();
  const ranks = [...new Set(terms.flatMap((term) => (term.tensors.a ? [term.tensors.a.shape[0]!] : [])))].sort(
    (a, b) => a - b,
  );
  return {
    kind: 'adapter',
    method: adapter.method?.name ?? null,
    config: adapter.method?.config ?? null,
    base: adapter.base ?? null,
    task: adapter.task ?? null,
    tensors: tensors.size,
    parameters: adapter.delta.params.size + adapter.replaced.size,
    ranks,
    replaced: [...adapter.replaced.keys()],
    dtypes: dtypesOf(tensors.values()),
    bytes: bytesOf(tensors.values()),
    digest: adapter.digest,
    problems: [...new Set([...weights.warnings, ...problems])],
  };
}

async function inspectWeights(path: string): Promise<Found> {
  const { tensors, warnings } = await openWeights(path);
  const config = existsSync(join(path, 'config.json'))
    ? JSON.parse(await readFile(join(path, 'config.json'), 'utf8'))
    : undefined;
  return {
    kind: config ? 'model' : 'tensors',
    method: null,
    ...(config ? { modelType: config.model_type ?? null, architectures: config.architectures ?? [] } : {}),
    tensors: tensors.size,
    dtypes: dtypesOf(tensors.values()),
    bytes: bytesOf(tensors.values()),
    digest: await digestTensors(tensors),
    problems: warnings,
  };
}

async function look(path: string, plugins: Plugins): Promise<Found> {
  if (!existsSync(path)) throw new PeftError('FILE_MISSING', `There is nothing at ${path}.`, { details: { path } });
  if (statSync(path).isDirectory() && existsSync(join(path, 'adapter_config.json')))
    return inspectAdapter(path, plugins);
  return inspectWeights(path);
}

export const inspect = defineCommand({
  name: 'inspect',
  summary: 'says what a file or a folder is, and what is wrong with it',
  arguments: [['<path>', 'an adapter, a model directory or a .safetensors file']],
  options: z.object(common),
  async run(o, { output }, [path = '']) {
    const plugins = await loadPlugins(o.plugin);
    let found: Found;
    try {
      found = await look(path, plugins);
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
