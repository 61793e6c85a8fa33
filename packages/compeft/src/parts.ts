import {
  type Delta,
  elementCount,
  type Kinds,
  kindOf,
  type LowRankOptions,
  lowRank,
  PeftError,
  type Term,
  toF32,
} from '@peftjs/core';
import type { CompeftSettings } from './config.js';
import { maxElements } from './words.js';

/** What competes with what for the density. */
export type Factor = 'a' | 'b' | 'dense';

/** One tensor that becomes ternary: a factor of a low-rank term, or the whole ΔW of a parameter. */
export interface Part {
  readonly path: string;
  /** Which term of the compressed parameter it belongs to. */
  readonly term: number;
  readonly factor: Factor;
  readonly elements: number;
  read(): Promise<Float32Array>;
}

/** How the terms of a parameter are compressed: each low-rank one by its factors, everything else as one ΔW. */
export interface Plan {
  readonly path: string;
  readonly shape: readonly number[];
  /** Low-rank terms whose factors are compressed; none when the whole ΔW is. */
  readonly factored: readonly Term[];
  readonly parts: readonly Part[];
}

/** The plan of every parameter, in the order of their paths. @throws PeftError CONFIG_UNSUPPORTED for unknown kinds */
export function plansOf(delta: Delta, kinds: Kinds): Plan[] {
  const paths = [...delta.params.keys()].sort();
  return paths.map((path) => planOf(path, delta.shape.get(path)!, delta.params.get(path)!, kinds));
}

function planOf(path: string, shape: readonly number[], terms: readonly Term[], kinds: Kinds): Plan {
  const factored = terms.length > 0 && terms.every(({ kind }) => kind === lowRank.kind);
  const parts = factored
    ? terms.flatMap((term, i) =>
        (['a', 'b'] as const).map((factor): Part => {
          const ref = term.tensors[factor]!;
          const read = async () => toF32(await ref.read()).data;
          return { path, term: i, factor, elements: elementCount(ref.shape), read };
        }),
      )
    : [
        {
          path,
          term: 0,
          factor: 'dense' as const,
          elements: elementCount(shape),
          read: () => sum(terms, shape, kinds),
        },
      ];
  for (const { elements } of parts)
    if (elements > maxElements)
      throw new PeftError(
        'CONFIG_UNSUPPORTED',
        `"${path}" has ${elements} numbers; at most ${maxElements} are compressed.`,
      );
  return { path, shape, factored: factored ? terms : [], parts };
}

/** The whole ΔW of a parameter. */
async function sum(terms: readonly Term[], shape: readonly number[], kinds: Kinds): Promise<Float32Array> {
  if (terms.length === 1) return toF32(await kindOf(terms[0]!, kinds).dense(terms[0]!, shape)).data;
  const y = new Float64Array(elementCount(shape));
  for (const term of terms) {
    const d = toF32(await kindOf(term, kinds).dense(term, shape)).data;
    for (let i = 0; i < y.length; i++) y[i] = y[i]! + d[i]!;
  }
  return Float32Array.from(y);
}

/** The group a part belongs to, by scope. */
export function groupOf({ path, term, factor }: Part, scope: CompeftSettings['scope']): string {
  switch (scope) {
    case 'global':
      return 'all';
    case 'factor':
      return factor;
    case 'tensor':
      return `${path}:${term}:${factor}`;
    default:
      return scope satisfies never;
  }
}

/** The options of a low-rank term. */
export const optionsOf = ({ meta }: Term): LowRankOptions => ({
  scale: meta.scale === undefined ? 1 : Number(meta.scale),
  transposed: meta.transposed === true,
  embedding: meta.embedding === true,
});
