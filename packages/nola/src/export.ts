import { type Adapter, contentDigest, type Term } from '@peftjs/core';
import { lowRankOf, seededLowRank } from './kind.js';

/**
 * The adapter as plain LoRA: every seeded update becomes its two factors, made once. It has no seed any more, and PEFT
 * loads what `writeAdapter` makes of it. Other updates stay as they are.
 * @throws PeftError ADAPTER_INVALID when a seed is missing or does not give the matrices it was trained with
 */
export async function materialize(adapter: Adapter): Promise<Adapter> {
  const { delta, replaced, method: _, peft: __, ...facts } = adapter;
  const params = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params) {
    const shape = delta.shape.get(path)!;
    const made = terms.map((term) => (term.kind === seededLowRank.kind ? lowRankOf(term, shape) : term));
    params.set(path, await Promise.all(made));
  }
  const content = { delta: { ...delta, params }, replaced };
  return { ...facts, ...content, digest: await contentDigest(content) };
}
