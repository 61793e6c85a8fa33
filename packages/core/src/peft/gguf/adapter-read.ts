import type { Adapter, Term } from '../../delta/delta.js';
import { contentDigest } from '../../delta/digest.js';
import { lowRankTerm } from '../../delta/kinds/low-rank.js';
import { Problems } from '../../errors.js';
import { nonFinite } from '../../files/non-finite.js';
import type { ByteSource } from '../../files/source.js';
import { cast, toF32 } from '../../tensor/convert.js';
import { isFloat } from '../../tensor/dtype.js';
import { tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { transposed } from '../../tensor/transpose.js';
import { architectureNamed, fromGgml, type GgufArchitecture, permutedHeads } from './names.js';
import { type HeadCounts, permuteRows } from './permute.js';
import { type GgufFile, type GgufTensor, openGguf } from './read.js';

export interface ReadGgufAdapterOptions {
  /** Heads of the base: the file does not have them, and Llama's queries and keys cannot be read without. */
  readonly base?: HeadCounts;
  /** Hears what is unusual but allowed. Default: console.warn. */
  readonly warn?: (message: string) => void;
}

/** What the metadata must say of a LoRA adapter. */
const wanted = { 'general.type': 'adapter', 'adapter.type': 'lora' } as const;
const alphaKey = 'adapter.lora.alpha';
const tokensKey = 'adapter.alora.invocation_tokens';
/** llama.cpp passes over such tensors. */
const ignored = /_norm\.weight$/;

/**
 * Reads a LoRA adapter of llama.cpp, as strictly as llama.cpp and stricter: names, pairs, ranks, numbers.
 * @throws PeftError FILE_MISSING, FILE_INVALID; ADAPTER_INVALID with everything that is wrong; CONFIG_UNSUPPORTED for
 *   quantised factors; MODEL_UNSUPPORTED for other architectures; ADAPTER_MISMATCH
 */
export async function readGgufAdapter(
  input: string | ByteSource,
  options: ReadGgufAdapterOptions = {},
): Promise<Adapter> {
  const { base, warn = console.warn } = options;
  const file = await openGguf(input);
  const subject = `The adapter ${typeof input === 'string' ? input : input.name}`;
  const { architecture, alpha } = readMetadata(file, subject, warn);
  const pairs = readPairs(file, architecture, base, subject, warn);
  await refuseNonFinite(pairs, subject);
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const { module, a, b } of pairs) {
    const embedding = module.endsWith('embed_tokens');
    const r = b.shape[1]!;
    const heads = architecture.permuted ? permutedHeads(module) : undefined;
    const factors = {
      a: embedding ? changed(a, [r, a.shape[0]!], transposed) : a,
      b: heads ? changed(b, b.shape, (t) => permuteRows(t, base![heads], 'hf', module)) : b,
    };
    const term = lowRankTerm(factors, { scale: alpha === 0 ? 1 : alpha / r, embedding });
    const own = [factors.b.shape[0]!, factors.a.shape[1]!];
    shape.set(`${module}.weight`, embedding ? own.reverse() : own);
    params.set(`${module}.weight`, [term]);
  }
  const content = { delta: { shape, params }, replaced: new Map() };
  return { ...content, digest: await contentDigest(content) };
}

function readMetadata({ metadata }: GgufFile, subject: string, warn: (message: string) => void) {
  const problems = new Problems();
  const shown = (key: string) => {
    const found = metadata.get(key);
    return found ? `${JSON.stringify(String(found.value).slice(0, 80))} (${found.type})` : 'missing';
  };
  for (const [key, value] of Object.entries(wanted))
    if (metadata.get(key)?.value !== value) problems.add(`${key} is ${shown(key)}; "${value}" is needed.`);
  const name = metadata.get('general.architecture');
  if (name?.type !== 'string') problems.add(`general.architecture is ${shown('general.architecture')}.`);
  const alpha = metadata.get(alphaKey);
  if (alpha?.type !== 'f32' || !Number.isFinite(alpha.value))
    problems.add(`${alphaKey} is ${shown(alphaKey)}; a finite f32 is needed.`);
  problems.throwIfAny('ADAPTER_INVALID', subject);
  if (metadata.has(tokensKey))
    warn(
      `${subject} is an activated LoRA (${tokensKey}): llama.cpp applies it behind those tokens only; here it always acts.`,
    );
  return { architecture: architectureNamed(String(name!.value)), alpha: Number(alpha!.value) };
}

interface Pair {
  readonly module: string;
  readonly a: TensorRef;
  readonly b: TensorRef;
}

function readPairs(
  { tensors }: GgufFile,
  { permuted }: GgufArchitecture,
  base: HeadCounts | undefined,
  subject: string,
  warn: (message: string) => void,
): Pair[] {
  const problems = new Problems();
  const unsupported = new Problems();
  const found = new Map<string, { a?: GgufTensor; b?: GgufTensor }>();
  for (const [name, tensor] of tensors) {
    const parts = /^(.+)\.lora_([ab])$/.exec(name);
    if (!parts && ignored.test(name)) warn(`${subject} has "${name}", which llama.cpp passes over; so does this.`);
    else if (!parts) problems.add(`the tensor "${name}" ends neither in .lora_a nor in .lora_b.`);
    else found.set(parts[1]!, { ...found.get(parts[1]!), [parts[2]!]: tensor });
  }
  const pairs: Pair[] = [];
  for (const [name, { a, b }] of found) {
    const module = fromGgml(name);
    for (const [letter, tensor] of [['a', a] as const, ['b', b] as const]) {
      if (!tensor) problems.add(`"${name}" has no tensor .lora_${letter}.`);
      else if (!tensor.ref || !isFloat(tensor.ref.dtype))
        unsupported.add(`"${name}.lora_${letter}" is ${tensor.type}; f32, f16 and bf16 are read.`);
      else if (tensor.shape.length !== 2) problems.add(`"${name}.lora_${letter}" is [${tensor.shape}], not a matrix.`);
    }
    if (!module) problems.add(`"${name}" is no weight of a module that is known here.`);
    if (!a?.ref || !b?.ref || a.shape.length !== 2 || b.shape.length !== 2 || !module) continue;
    const ranks = [a.shape[module.endsWith('embed_tokens') ? 1 : 0]!, b.shape[1]!];
    if (ranks[0] !== ranks[1]) problems.add(`the factors of "${name}" have ranks ${ranks[0]} and ${ranks[1]}.`);
    else if (ranks[0] === 0) problems.add(`the factors of "${name}" have rank 0.`);
    if (permuted && permutedHeads(module) && !base)
      problems.add(`"${name}" has interleaved rows: give the base, whose numbers of heads are needed to read them.`);
    pairs.push({ module, a: a.ref, b: b.ref });
  }
  if (tensors.size === 0) problems.add('it has no tensors.');
  problems.throwIfAny('ADAPTER_INVALID', subject);
  unsupported.throwIfAny('CONFIG_UNSUPPORTED', subject);
  return pairs;
}

/** A reference whose numbers are rearranged when they are read, in their own dtype. */
const changed = (
  ref: TensorRef,
  shape: readonly number[],
  change: (tensor: ReturnType<typeof toF32>) => ReturnType<typeof toF32>,
): TensorRef => ({
  dtype: ref.dtype,
  shape,
  async read(options = {}) {
    const whole = cast(change(toF32(await ref.read(options.signal ? { signal: options.signal } : {}))), ref.dtype);
    return tensorRef(whole).read(options);
  },
});

async function refuseNonFinite(pairs: readonly Pair[], subject: string): Promise<void> {
  const problems = new Problems();
  const all = new Map(pairs.flatMap(({ module, a, b }) => [[`${module} A`, a] as const, [`${module} B`, b] as const]));
  for (const { name, count, index } of await nonFinite(all))
    problems.add(`"${name}" has ${count} values that are NaN or infinite, the first at ${index}.`);
  problems.throwIfAny('ADAPTER_INVALID', subject);
}
