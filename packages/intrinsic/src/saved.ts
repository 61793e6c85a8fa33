import { type Adapter, type Params, Problems, type Target, type Tensor, type Term } from '@peftjs/core';
import { problemsOf } from './check.js';
import type { IntrinsicSettings } from './config.js';
import { subspace } from './kind.js';
import { shapeOf, tensorOfSeed } from './source.js';
import { describe } from './term.js';

/** The one update of a target's weight, where it is one that training can go on from. */
export function savedTerm({ delta }: Adapter, { path }: Target): Term | undefined {
  const [term, ...more] = delta.params.get(`${path}.weight`) ?? [];
  return term?.kind === subspace.kind && more.length === 0 && problemsOf(term).length === 0 ? term : undefined;
}

/** The seed of a saved update, so that a run that goes on from it makes its signs once. */
export const savedSeed = (term: Term | undefined, target: Target): Params<Tensor> =>
  term ? { seed: tensorOfSeed(describe(term, shapeOf(target)).seed) } : {};

/**
 * One point in one subspace, as far from the start as this configuration has it.
 * @param unit the scale of a target without one of its own
 * @throws PeftError ADAPTER_MISMATCH listing every target that is elsewhere
 */
export async function requireOnePoint(
  start: Adapter,
  sites: readonly { readonly target: Target; readonly c: IntrinsicSettings }[],
  unit: number,
): Promise<void> {
  const problems = new Problems();
  let first: { readonly path: string; readonly d: Tensor } | undefined;
  for (const { target, c } of sites) {
    const term = savedTerm(start, target);
    if (!term) continue;
    const { path } = target;
    const d = await term.tensors.d!.read();
    first ??= { path, d };
    const dimension = d.data.length;
    if (dimension !== c.dimension)
      problems.add(
        `"${path}" was trained with dimension ${dimension}, here it is ${c.dimension}: set dimension to ${dimension}.`,
      );
    else if (dimension !== first.d.data.length || d.data.some((x, i) => x !== first!.d.data[i]))
      problems.add(`"${path}" has another vector than "${first.path}": train a new adapter on top of it.`);
    if (!c.structureAware && term.meta.scale !== unit)
      problems.add(
        `"${path}" has the scale ${term.meta.scale}, here it is ${unit}: choose the targets it was trained with, or set structureAware, which goes on from any scale.`,
      );
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'intrinsic cannot be trained on from this adapter');
}
