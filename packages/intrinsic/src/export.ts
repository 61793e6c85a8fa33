import { type Adapter, contentDigest, denseTerm, type Term, tensorRef } from '@peftjs/core';
import { subspace } from './kind.js';

/**
 * The adapter as dense changes: every update in a subspace becomes its numbers, made once. It has no seed any more, and
 * whoever reads it needs no kind of this package. Other updates stay as they are.
 * @throws PeftError ADAPTER_INVALID when a seed is missing or does not give the signs it was trained with
 */
export async function materialize(adapter: Adapter): Promise<Adapter> {
  const { delta, replaced, method: _, peft: __, ...facts } = adapter;
  const params = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params) {
    const shape = delta.shape.get(path)!;
    const made = terms.map(async (term) =>
      term.kind === subspace.kind ? denseTerm(tensorRef(await subspace.dense(term, shape))) : term,
    );
    params.set(path, await Promise.all(made));
  }
  const content = { delta: { ...delta, params }, replaced };
  return { ...facts, ...content, digest: await contentDigest(content) };
}
