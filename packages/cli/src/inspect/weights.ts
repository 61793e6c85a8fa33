import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestTensors, openWeights } from '@peftjs/core/files';
import { bytesOf, dtypesOf, type Found } from './found.js';

/** A model directory, or tensors alone. */
export async function inspectWeights(path: string): Promise<Found> {
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
