import {
  type Delta,
  elementCount,
  encodeSafetensors,
  isPeftError,
  type Kind,
  memorySource,
  openSafetensors,
  type Packed,
  PeftError,
  Problems,
  quote,
  type TensorRef,
  type Term,
} from '@peftjs/core';
import * as z from 'zod';

/** A kind that a codec makes, with a look at the numbers of a term that comes from a file. */
export interface FileKind {
  readonly kind: Kind;
  /** @throws PeftError ADAPTER_INVALID when the numbers break the kind's rules */
  inspect(term: Term, shape: readonly number[]): Promise<void>;
}

/** Every term in the order of its parameter: path, kind and what it carries beside its tensors. */
const Header = z.strictObject({
  terms: z.array(
    z.tuple([z.string(), z.string(), z.record(z.string(), z.union([z.number(), z.string(), z.boolean()]))]),
  ),
});

/** More than a person reads. */
const maxReported = 20;

/**
 * The terms of a delta: their meta in the header, their tensors as one safetensors section, named `<number of the
 * term>.<tensor>`.
 * @throws PeftError DELTA_CONFLICT for terms of other kinds
 */
export async function encodeTerms(delta: Delta, codec: string, kinds: readonly FileKind[]): Promise<Packed> {
  const known = new Set(kinds.map(({ kind }) => kind.kind));
  const problems = new Problems();
  const terms: [string, string, Term['meta']][] = [];
  const tensors = new Map<string, TensorRef>();
  for (const [path, own] of delta.params)
    for (const term of own) {
      if (!known.has(term.kind)) problems.add(`"${path}" has a term of kind ${term.kind}: compress it first.`);
      for (const [name, ref] of Object.entries(term.tensors)) tensors.set(`${terms.length}.${name}`, ref);
      terms.push([path, term.kind, term.meta]);
    }
  problems.throwIfAny('DELTA_CONFLICT', `A file of ${codec} holds only ${[...known].join(' and ')} terms`);
  return { shape: delta.shape, header: { terms }, sections: [await encodeSafetensors(tensors)] };
}

/** What `encodeTerms` wrote. @throws PeftError FILE_INVALID with everything that is wrong */
export async function decodeTerms(packed: Packed, subject: string, kinds: readonly FileKind[]): Promise<Delta> {
  const parsed = Header.safeParse(packed.header);
  if (!parsed.success || packed.sections.length !== 1)
    throw new PeftError('FILE_INVALID', `${subject} has a header that cannot be: it is damaged, get it again.`);
  const file = await openSafetensors(memorySource(packed.sections[0]!, `The section of ${subject}`));
  const tensors = grouped(file.tensors);
  const known = new Map(kinds.map((entry) => [entry.kind.kind, entry]));
  const problems = new Problems();
  const report = (problem: string) => {
    if (problems.list.length < maxReported) problems.add(problem);
  };
  const params = new Map<string, Term[]>();
  for (const [i, [path, name, meta]] of parsed.data.terms.entries()) {
    const shape = packed.shape.get(path);
    const entry = known.get(name);
    const term: Term = { kind: name, tensors: tensors.get(String(i)) ?? {}, meta: { ...meta } };
    tensors.delete(String(i));
    if (!entry) report(`${quote(path)} has a term of the unknown kind ${quote(name)}.`);
    else if (!shape || elementCount(shape) === 0) report(`${quote(path)} has a term and no numbers.`);
    else for (const problem of await termProblems(entry, term, shape)) report(`${quote(path)}: ${problem}`);
    params.set(path, [...(params.get(path) ?? []), term]);
  }
  for (const path of packed.shape.keys()) if (!params.has(path)) report(`${quote(path)} has a shape and no term.`);
  for (const name of tensors.keys()) report(`tensors of ${quote(name)} belong to no term.`);
  problems.throwIfAny('FILE_INVALID', subject);
  return { shape: packed.shape, params };
}

/** Tensors by the number in front of their name. */
function grouped(tensors: ReadonlyMap<string, TensorRef>): Map<string, Record<string, TensorRef>> {
  const groups = new Map<string, Record<string, TensorRef>>();
  for (const [name, ref] of tensors) {
    const dot = name.indexOf('.');
    const key = name.slice(0, Math.max(0, dot));
    const group: Record<string, TensorRef> = groups.get(key) ?? Object.create(null);
    group[name.slice(dot + 1)] = ref;
    groups.set(key, group);
  }
  return groups;
}

async function termProblems({ kind, inspect }: FileKind, term: Term, shape: readonly number[]): Promise<string[]> {
  const problems = kind.problems(term, shape).map((problem) => `${problem}.`);
  if (problems.length > 0) return problems;
  try {
    await inspect(term, shape);
    return [];
  } catch (error) {
    if (isPeftError(error) && error.code === 'ADAPTER_INVALID') return [error.message];
    throw error;
  }
}
