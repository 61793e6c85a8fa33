import {
  type Matrix,
  matrix,
  type Orientation,
  orientationOf,
  Problems,
  type Term,
  toF32,
  transpose,
} from '@peftjs/core';
import type { Weighted } from './inputs.js';

/** What one adapter has for one parameter: ΔW = scale · B A. */
export interface Part {
  /** Index of the adapter, and its weight. */
  readonly input: number;
  readonly weight: number;
  readonly scale: number;
  readonly a: Matrix; // r × in
  readonly b: Matrix; // out × r
}

export interface Module {
  readonly path: string;
  readonly shape: readonly number[];
  readonly orientation: Orientation;
  /** One an adapter that has this parameter, in their order. */
  readonly parts: readonly Part[];
}

/**
 * Every parameter that an adapter changes, sorted.
 * @throws PeftError DELTA_CONFLICT listing what is no single pair of factors: rules on factors say nothing of it
 */
export function requireFactors(inputs: readonly Weighted[], name: string): string[] {
  const paths = [...new Set(inputs.flatMap(({ adapter }) => [...adapter.delta.params.keys()]))].sort();
  const problems = new Problems();
  for (const path of paths) checkTerms(path, inputs, problems);
  problems.throwIfAny('DELTA_CONFLICT', `${name} works on pairs of factors`);
  return paths;
}

/** The adapters parameter by parameter, read one at a time. @throws PeftError DELTA_CONFLICT as `requireFactors` does */
export async function* modulesOf(inputs: readonly Weighted[], name: string): AsyncGenerator<Module, void, void> {
  for (const path of requireFactors(inputs, name)) {
    const having = inputs.flatMap(({ adapter, weight }, input) => {
      const term = adapter.delta.params.get(path)?.[0];
      return term ? [{ term, weight, input, shape: adapter.delta.shape.get(path)! }] : [];
    });
    const { term, shape } = having[0]!;
    const orientation = orientationOf(term);
    yield { path, shape, orientation, parts: await Promise.all(having.map((one) => read(one, orientation))) };
  }
}

function checkTerms(path: string, inputs: readonly Weighted[], problems: Problems): void {
  const shapes = new Set<string>();
  for (const [i, { adapter }] of inputs.entries()) {
    const terms = adapter.delta.params.get(path);
    if (!terms) continue;
    shapes.add(`[${adapter.delta.shape.get(path)}]`);
    const kinds = terms.map(({ kind }) => kind).join(', ');
    if (terms.length > 1)
      problems.add(`"${path}" has ${terms.length} terms in adapter ${i} (${kinds}): compact it first.`);
    else if (kinds !== 'low-rank') problems.add(`"${path}" has an update of kind ${kinds} in adapter ${i}.`);
  }
  if (shapes.size > 1) problems.add(`"${path}" is ${[...shapes].join(' in one adapter and ')} in another.`);
}

async function read(
  { term, weight, input }: { term: Term; weight: number; input: number },
  orientation: Orientation,
): Promise<Part> {
  const load = async (ref: (typeof term.tensors)[string]) =>
    matrix(ref.shape[0]!, ref.shape[1]!, toF32(await ref.read()).data);
  const [a, b] = await Promise.all([load(term.tensors.a!), load(term.tensors.b!)]);
  const own = { input, weight, scale: Number(term.meta.scale ?? 1) };
  // (B A)ᵀ = Aᵀ Bᵀ: factors that lie the other way change sides.
  return orientationOf(term).transposed === orientation.transposed
    ? { ...own, a, b }
    : { ...own, a: transpose(b), b: transpose(a) };
}
