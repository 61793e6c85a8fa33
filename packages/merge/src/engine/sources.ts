import {
  type Adapter,
  applyDelta,
  builtinKinds,
  type Delta,
  type DType,
  denseTerm,
  type Kinds,
  keepZero,
  kindOf,
  type Layouts,
  notASum,
  openWeights,
  type Parameters,
  PeftError,
  Problems,
  readAdapter,
  type Term,
  tensorRef,
} from '@peftjs/core';
import type { Files } from '../platform/files.js';
import { deltaOfFile } from './delta-file.js';
import type { Operand } from './task.js';

/**
 * What can be merged: a Hugging Face directory, a safetensors file or an adapter's directory by path, parameters, an
 * adapter or a delta in memory, or a checkpoint with an adapter in it.
 */
export type Source =
  | string
  | Parameters
  | Adapter
  | Delta
  | { readonly model: string | Parameters; readonly adapter: string | Adapter };

/** A tensor of an input: what it is and how it is made. */
export interface Held extends Operand {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** An input, opened: nothing of its numbers has been read. */
export interface Opened {
  readonly tensors: ReadonlyMap<string, Held>;
  /** Where its configuration and tokenizer lie. */
  readonly directory?: string;
  /** An update without a base of its own: what it does not name is unchanged. */
  readonly update: boolean;
  /** What an update says that it was made for. */
  readonly base?: Adapter['base'];
}

export interface OpenContext {
  readonly files: Files | undefined;
  readonly kinds: Kinds;
  readonly layouts: Layouts;
  readonly warn: (message: string) => void;
  readonly signal: AbortSignal;
}

/** Parameters, or the updates on them. */
type Content = { readonly parameters: Parameters; readonly directory?: string } | { readonly update: Adapter };

const asAdapter = (delta: Delta): Adapter => ({ delta, replaced: new Map(), digest: '' });

async function contentAt(path: string, base: Parameters | undefined, context: OpenContext): Promise<Content> {
  const { files, kinds, layouts, warn, signal } = context;
  const kind = await files?.kind(path);
  if (kind === 'directory' && (await files!.kind(files!.join(path, 'adapter_config.json'))) === 'file') {
    const facts = base ? { base: { parameters: base } } : {};
    return { update: await readAdapter(path, { kinds, layouts, warn, signal, ...facts }) };
  }
  const { tensors, metadata, warnings } = await openWeights(path, { signal });
  for (const warning of warnings) warn(`${path}: ${warning}`);
  const delta = deltaOfFile(tensors, metadata);
  if (delta) return { update: asAdapter(delta) };
  return { parameters: tensors, ...(kind === 'directory' && { directory: path }) };
}

function contentOf(source: Source, base: Parameters | undefined, context: OpenContext): Promise<Content> | Content {
  if (typeof source === 'string') return contentAt(source, base, context);
  if (source instanceof Map) return { parameters: source as Parameters };
  if ('delta' in source) return { update: source };
  if ('params' in source) return { update: asAdapter(source) };
  throw new PeftError('CONFIG_INVALID', 'An input is a path, parameters, an adapter or a delta.');
}

/** Terms that every thread understands: those of other packages are multiplied out here. */
async function plainTerms(terms: readonly Term[], shape: readonly number[], kinds: Kinds): Promise<Term[]> {
  const plain = async (term: Term) =>
    builtinKinds.has(term.kind) ? term : denseTerm(tensorRef(await kindOf(term, kinds).dense(term, shape)));
  return Promise.all(terms.map(plain));
}

const heldParameters = (parameters: Parameters): Map<string, Held> =>
  new Map([...parameters].map(([name, ref]) => [name, { ref, terms: [], dtype: ref.dtype, shape: ref.shape }]));

/** A parameter with terms in it that are no sums, in memory: what every thread understands. */
async function changed(
  path: string,
  own: Held,
  { terms, shape }: { readonly terms: readonly Term[]; readonly shape: readonly number[] },
  kinds: Kinds,
): Promise<Held> {
  const delta = { shape: new Map([[path, shape]]), params: new Map([[path, terms]]) };
  const ref = applyDelta(new Map([[path, own.ref!]]), delta, { kinds }).get(path)!;
  return { ref: tensorRef(await ref.read()), terms: [], dtype: own.dtype, shape };
}

/** An update on parameters, or on zeros where there are none. @throws PeftError ADAPTER_MISMATCH */
async function updated(
  { delta, replaced }: Adapter,
  base: Parameters | undefined,
  { kinds }: OpenContext,
): Promise<Map<string, Held>> {
  const problems = new Problems();
  const tensors = base ? heldParameters(base) : new Map<string, Held>();
  for (const [path, ref] of replaced) {
    const own = tensors.get(path);
    if (!base) problems.add(`"${path}" is replaced in full: name the base (base), so that there is a difference.`);
    else if (!own) problems.add(`the base has no parameter "${path}".`);
    else tensors.set(path, { ref, terms: [], dtype: own.dtype, shape: ref.shape });
  }
  for (const [path, terms] of delta.params) {
    const own = tensors.get(path);
    const shape = own?.shape ?? delta.shape.get(path)!;
    if (base && !own && keepZero(terms, kinds)) continue; // a bias that the base does not have
    if (base && !own) problems.add(`the base has no parameter "${path}".`);
    for (const term of terms)
      for (const problem of kindOf(term, kinds).problems(term, shape)) problems.add(`"${path}": ${problem}.`);
    const odd = notASum(terms, kinds);
    if (odd && !own?.ref)
      problems.add(
        `"${path}" has an update of kind ${odd.kind}, which is no sum: name the base (base), so that there is a difference.`,
      );
    if (odd) {
      if (own?.ref && problems.list.length === 0) tensors.set(path, await changed(path, own, { terms, shape }, kinds));
      continue;
    }
    const made: Held = { terms: await plainTerms(terms, shape, kinds), dtype: own?.dtype ?? 'f32', shape };
    tensors.set(path, own?.ref ? { ...made, ref: own.ref } : made);
  }
  problems.throwIfAny('ADAPTER_MISMATCH', 'An update does not fit');
  return tensors;
}

/**
 * Opens an input. An adapter or a delta becomes base + update where there is a base, else the update alone.
 * @throws PeftError FILE_MISSING, FILE_INVALID, ADAPTER_INVALID, ADAPTER_MISMATCH, CONFIG_UNSUPPORTED
 */
export async function openSource(source: Source, base: Parameters | undefined, context: OpenContext): Promise<Opened> {
  if (typeof source === 'object' && 'adapter' in source) {
    const model = await contentOf(source.model, undefined, context);
    if ('update' in model) throw new PeftError('CONFIG_INVALID', `${String(source.model)} is no checkpoint.`);
    const opened = await openSource(source.adapter, model.parameters, context);
    return { tensors: opened.tensors, update: false, ...(model.directory && { directory: model.directory }) };
  }
  const content = await contentOf(source, base, context);
  if ('update' in content) {
    const { update } = content;
    return { tensors: await updated(update, base, context), update: true, base: update.base };
  }
  const { parameters, directory } = content;
  return { tensors: heldParameters(parameters), update: false, ...(directory && { directory }) };
}

/** The name of an input for messages and draws: the last part of its path. */
export function nameOf(source: Source, index: number): string {
  if (typeof source === 'string') return source.split(/[\\/]/).filter(Boolean).at(-1) ?? source;
  if (typeof source === 'object' && 'adapter' in source)
    return `${typeof source.model === 'string' ? nameOf(source.model, index) : 'model'}+${nameOf(source.adapter, index)}`;
  return `model ${index + 1}`;
}
