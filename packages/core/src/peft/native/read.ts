import type { Term } from '../../delta/delta.js';
import { sameExtents } from '../../delta/kinds/common.js';
import { kindOf } from '../../delta/registry.js';
import { PeftError, Problems } from '../../errors.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { brief } from '../common/config.js';
import type { LayoutInput, LayoutOutput } from '../layout.js';
import { type NativeFile, nativeSchema, replacedKey, termKey } from './format.js';

/** Reads a PEFTJS folder. See `Layout.read`; rules of the kinds themselves are checked by whoever calls it. */
export function readNative(input: LayoutInput): LayoutOutput {
  const { tensors, subject, kinds } = input;
  const file = parse(input);
  const problems = new Problems();
  const left = new Set(tensors.keys());
  const take = (key: string): TensorRef | undefined => {
    const ref = tensors.get(key);
    if (!ref) problems.add(`it has no tensor "${key}".`);
    else if (!left.delete(key)) problems.add(`the tensor "${key}" is named twice.`);
    return ref;
  };
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const { path, shape: extents, terms } of file.parameters) {
    if (params.has(path)) problems.add(`"${path}" is listed twice.`);
    shape.set(path, extents);
    params.set(
      path,
      terms.map(({ kind, meta, tensors: names }, i) => {
        const refs = names.map((name) => [name, take(termKey(path, i, name))] as const);
        return { kind, meta, tensors: Object.fromEntries(refs.filter(([, ref]) => ref !== undefined)) } as Term;
      }),
    );
  }
  const replaced = new Map<string, TensorRef>();
  for (const path of file.replaced) {
    const ref = take(replacedKey(path));
    if (ref) replaced.set(path, ref);
    if (params.has(path)) problems.add(`"${path}" is replaced in full and changed.`);
  }
  for (const key of left) problems.add(`it has the tensor "${key}", which its configuration does not name.`);
  if (params.size + replaced.size === 0) problems.add('it changes nothing.');
  checkBase({ shape, replaced }, input, problems);
  problems.throwIfAny('ADAPTER_INVALID', subject);
  for (const terms of params.values()) for (const term of terms) kindOf(term, kinds);
  return { delta: { shape, params }, replaced };
}

/** @throws PeftError CONFIG_UNSUPPORTED for another version, ADAPTER_INVALID listing everything wrong */
function parse({ config, subject }: LayoutInput): NativeFile {
  const spec = config.get('spec');
  if (typeof spec === 'string' && spec !== 'v1')
    throw new PeftError('CONFIG_UNSUPPORTED', `${subject} is of version ${brief(spec)} of PEFTJS; v1 is read here.`);
  const parsed = nativeSchema.safeParse(Object.fromEntries(config));
  if (parsed.data) return parsed.data;
  const problems = new Problems();
  for (const { path, message } of parsed.error!.issues.slice(0, 20)) problems.add(`${path.join('.')}: ${message}`);
  problems.throwIfAny('ADAPTER_INVALID', `${subject}, its configuration`);
  throw new PeftError('INTERNAL', `${subject} was refused without a reason.`);
}

/** Biases may be absent from the base: they are zeros there. */
function checkBase(
  {
    shape,
    replaced,
  }: { readonly shape: ReadonlyMap<string, readonly number[]>; readonly replaced: ReadonlyMap<string, TensorRef> },
  { base: { parameters } }: LayoutInput,
  problems: Problems,
): void {
  if (!parameters) return;
  for (const [path, extents] of [...shape, ...[...replaced].map(([path, ref]) => [path, ref.shape] as const)]) {
    const own = parameters.get(path);
    if (!own && !path.endsWith('.bias')) problems.add(`it changes "${path}", which the base does not have.`);
    else if (own && !sameExtents(own.shape, extents))
      problems.add(`it changes "${path}" as [${extents}], the base has [${own.shape}].`);
  }
}
