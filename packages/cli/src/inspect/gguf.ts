import { isPeftError, openGguf, type PeftError, readGgufAdapter } from '@peftjs/core';
import { digestSource, fileSource } from '@peftjs/core/files';
import { densitiesOf, type Found, ranksOf } from './found.js';

/** What a check found wrong, as a list. */
const problemsOf = ({ message, details }: PeftError): string[] =>
  Array.isArray(details.problems) ? details.problems.map(String) : [message];

/** Numbers of heads only reorder rows: to look at a file, one head will do as well as the base's own. */
const anyHeads = { heads: 1, kvHeads: 1 };

/** A GGUF file: an adapter of llama.cpp, or a model. */
export async function inspectGguf(path: string): Promise<Found> {
  const { metadata, tensors } = await openGguf(path);
  const all = [...tensors.values()];
  const isAdapter = metadata.get('general.type')?.value === 'adapter';
  const facts = {
    kind: isAdapter ? 'gguf-adapter' : 'gguf',
    method: isAdapter ? (metadata.get('adapter.type')?.value ?? null) : null,
    architecture: metadata.get('general.architecture')?.value ?? null,
    tensors: tensors.size,
    dtypes: [...new Set(all.map(({ type }) => type))],
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    digest: `sha256:${await digestSource(await fileSource(path))}`,
  };
  if (!isAdapter) return { ...facts, problems: [] };
  const problems: string[] = [];
  try {
    const adapter = await readGgufAdapter(path, { base: anyHeads, warn: (message) => problems.push(message) });
    const refs = all.flatMap(({ ref }) => ref ?? []);
    const alpha = metadata.get('adapter.lora.alpha')?.value;
    return { ...facts, alpha, ranks: ranksOf(adapter), densities: await densitiesOf(refs), problems };
  } catch (error) {
    if (!isPeftError(error)) throw error;
    return { ...facts, problems: [...problems, ...problemsOf(error)] };
  }
}
