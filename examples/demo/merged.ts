import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Adapter, applyAdapter } from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import type { Model } from '@peftjs/models';

const beside = ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json'];

/** Writes a model directory with the adapter in its weights: an ordinary checkpoint that needs no adapter. */
export async function writeMerged(folder: string, model: Model, adapter: Adapter): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const file of beside) await copyFile(join(model.directory, file), join(folder, file));
  const { parameters } = applyAdapter(model.parameters, adapter);
  const own = [...parameters].filter(([name]) => !(name in model.tied));
  await writeSafetensors(join(folder, 'model.safetensors'), new Map(own), { metadata: new Map([['format', 'pt']]) });
}
