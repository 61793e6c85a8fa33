import { join } from 'node:path';
import { readAdapter } from '@peftjs/core';
import { openWeights } from '@peftjs/core/files';
import type { Plugins } from '../plugins.js';
import { shapesOf } from '../shapes.js';
import { bytesOf, densitiesOf, dtypesOf, type Found, kindsOf, ranksOf } from './found.js';

/** An adapter as PEFT saves it. */
export async function inspectAdapter(path: string, { layouts, kinds }: Plugins, base?: string): Promise<Found> {
  const problems: string[] = [];
  const weights = await openWeights(join(path, 'adapter_model.safetensors'));
  const { tensors } = weights;
  const adapter = await readAdapter(path, {
    layouts,
    kinds,
    warn: (message) => problems.push(message),
    ...shapesOf(base),
  });
  return {
    kind: 'adapter',
    layout: adapter.peft?.peft_type ?? null,
    method: adapter.method?.name ?? null,
    config: adapter.method?.config ?? null,
    base: adapter.base ?? null,
    task: adapter.task ?? null,
    tensors: tensors.size,
    parameters: adapter.delta.params.size + adapter.replaced.size,
    kinds: kindsOf(adapter),
    ranks: ranksOf(adapter),
    densities: await densitiesOf(tensors.values()),
    replaced: [...adapter.replaced.keys()],
    dtypes: dtypesOf(tensors.values()),
    bytes: bytesOf(tensors.values()),
    digest: adapter.digest,
    problems: [...new Set([...weights.warnings, ...problems])],
  };
}
