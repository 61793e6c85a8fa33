import { openOnnxAdapter, slotNames } from '@peftjs/core';
import { digestSource, fileSource } from '@peftjs/core/files';
import { byteLength } from '@peftjs/core/tensor';
import { densitiesOf, dtypesOf, type Found } from './found.js';

/** ONNX Runtime's file of LoRA parameters. */
export async function inspectOnnxAdapter(path: string): Promise<Found> {
  const { adapterVersion, modelVersion, parameters, warnings } = await openOnnxAdapter(path);
  const refs = [...parameters.values()];
  const letters = [...parameters].flatMap(([name, { shape }]) => {
    const found = Object.values(slotNames).flatMap((names) => names.read(name) ?? [])[0];
    return found?.letter === 'a' && shape.length === 2 ? [shape[1]!] : [];
  });
  return {
    kind: 'onnx-adapter',
    method: letters.length > 0 ? 'lora' : null,
    adapterVersion,
    modelVersion,
    tensors: parameters.size,
    ranks: [...new Set(letters)].sort((a, b) => a - b),
    densities: await densitiesOf(refs),
    dtypes: dtypesOf(refs),
    bytes: refs.reduce((sum, { dtype, shape }) => sum + byteLength(dtype, shape), 0),
    digest: `sha256:${await digestSource(await fileSource(path))}`,
    problems: warnings,
  };
}
