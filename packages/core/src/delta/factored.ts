import { toF32 } from '../tensor/convert.js';
import { tensorRef } from '../tensor/refs.js';
import type { Tensor } from '../tensor/tensor.js';
import { transposed } from '../tensor/transpose.js';
import type { Term } from './delta.js';
import { lowRank, lowRankTerm } from './kinds/low-rank.js';
import { type Kinds, kindOf } from './registry.js';

/**
 * The terms of one parameter as a single low-rank term, for formats that hold two factors; exact, ranks add. Undefined
 * when a term is of a kind without factors.
 */
export async function factored(
  terms: readonly Term[],
  shape: readonly number[],
  kinds: Kinds,
): Promise<Term | undefined> {
  const parts: Term[] = [];
  for (const term of terms) {
    if (term.kind === lowRank.kind) {
      parts.push(term);
      continue;
    }
    const slots = await kindOf(term, kinds).slots?.(term, shape);
    if (!slots) return undefined;
    const turned = (tensor: Tensor) => tensorRef(transposed(toF32(tensor)));
    const { transposed: lies, embedding } = term.meta;
    const options = { scale: 1, transposed: lies === true, embedding: embedding === true };
    parts.push(lowRankTerm({ a: turned(slots.a), b: turned(slots.b) }, options));
  }
  return parts.length === 1 ? parts[0] : lowRank.add!(parts, shape);
}
