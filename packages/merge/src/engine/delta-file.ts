import { type Delta, denseTerm, type TensorRef } from '@peftjs/core';

/** Marks a safetensors file whose tensors are added to parameters of their names. */
const mark = ['peftjs', 'delta 1'] as const;

/** The delta that a file holds; undefined when it holds parameters. */
export function deltaOfFile(
  tensors: ReadonlyMap<string, TensorRef>,
  metadata: ReadonlyMap<string, string>,
): Delta | undefined {
  if (metadata.get(mark[0]) !== mark[1]) return undefined;
  return {
    shape: new Map([...tensors].map(([name, { shape }]) => [name, shape])),
    params: new Map([...tensors].map(([name, ref]) => [name, [denseTerm(ref)]])),
  };
}

export const deltaMetadata: ReadonlyMap<string, string> = new Map([['format', 'pt'], mark]);
