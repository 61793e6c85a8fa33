import { defineKind, f32, PeftError, readTensor, type Tensor, type Term, termBytes, toF32 } from '@peftjs/core';
import { fingerprintProblems, problemsOf } from './check.js';
import { change, seededSigns } from './math.js';
import { type Description, describe } from './term.js';

/**
 * What a term holds, once it is known to mean what it meant when it was trained.
 * @throws PeftError ADAPTER_INVALID when the seed is missing or does not give the signs it was trained with
 */
export async function readTerm(
  term: Term,
  shape: readonly number[],
): Promise<Description & { readonly d: Tensor; readonly scale: number }> {
  const problems = problemsOf(term);
  if (problems.length === 0) problems.push(...fingerprintProblems(term, shape));
  if (problems.length > 0)
    throw new PeftError('ADAPTER_INVALID', `An update of kind ${term.kind} cannot be used: ${problems.join('; ')}.`, {
      details: { problems },
    });
  return { ...describe(term, shape), d: await readTensor(term, 'd'), scale: Number(term.meta.scale) };
}

/** Some hundred numbers that stand for a change of every weight: a point in a random subspace that a seed gives. */
export const subspace = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'subspace',
  async dense(term, shape) {
    const { seed, d, scale, ...extents } = await readTerm(term, shape);
    return f32(shape, change(seededSigns(seed, extents), toF32(d).data, scale));
  },
  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: Number(term.meta.scale) * factor } }),
  bytes: termBytes,
  problems: problemsOf,
  check: async (term, shape) => fingerprintProblems(term, shape),
});
