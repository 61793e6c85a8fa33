import { byteLength, type DType, PeftError, type Tensor, type Term } from '@peftjs/core';

/** The factor that a term carries beside its tensors. */
export const scaleOf = (term: Term): number => (term.meta.scale === undefined ? 1 : Number(term.meta.scale));

export const scaleTerm = (term: Term, factor: number): Term => ({
  ...term,
  meta: { ...term.meta, scale: scaleOf(term) * factor },
});

export const bytesOfTerm = (term: Term): number =>
  Object.values(term.tensors).reduce((sum, { dtype, shape }) => sum + byteLength(dtype, shape), 0);

/** What a tensor of a term must be. */
export interface Part {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export type Parts = Readonly<Record<string, Part>>;

const describe = ({ dtype, shape }: Part): string => `${dtype} [${shape}]`;

/** Every way in which a term's tensors and scale are not those expected. Nothing beside the parts may be there. */
export function partProblems(term: Term, parts: Parts): string[] {
  const problems: string[] = [];
  for (const [name, part] of Object.entries(parts)) {
    const found = term.tensors[name];
    if (!found) problems.push(`a ${term.kind} term needs a tensor "${name}" (${describe(part)})`);
    else if (describe(found) !== describe(part))
      problems.push(`its "${name}" is ${describe(found)}, expected is ${describe(part)}`);
  }
  const extra = Object.keys(term.tensors).filter((name) => !(name in parts));
  if (extra.length > 0) problems.push(`it has unknown tensors: ${extra.join(', ')}`);
  if (!Number.isFinite(scaleOf(term))) problems.push(`its scale is ${term.meta.scale}`);
  return problems;
}

/** Reads a tensor of a term. @throws PeftError ADAPTER_INVALID when the term has none of that name */
export async function readPart(term: Term, name: string): Promise<Tensor> {
  const ref = term.tensors[name];
  if (!ref) throw invalid(term, `has no tensor "${name}"`);
  return ref.read();
}

/** The numbers of a tensor of scales. @throws PeftError ADAPTER_INVALID when one is not finite */
export async function readScales(term: Term, name: string): Promise<Float32Array> {
  const scales = (await readPart(term, name)).data as Float32Array;
  const bad = scales.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) throw invalid(term, `has ${scales[bad]} at position ${bad} of "${name}"`);
  return scales;
}

export const invalid = (term: Term, problem: string): PeftError =>
  new PeftError('ADAPTER_INVALID', `A ${term.kind} term ${problem}: the file it came from is damaged, get it again.`, {
    details: { kind: term.kind },
  });
