import { platform } from '#platform';
import { underOwnPaths } from '../adapter/aliases.js';
import type { Adapter } from '../delta/delta.js';
import { contentDigest } from '../delta/digest.js';
import { builtinKinds, type Kinds, kindOf } from '../delta/registry.js';
import { PeftError, Problems } from '../errors.js';
import { digestTensor } from '../files/digest.js';
import { isJsonObject, toPlain } from '../files/json-values.js';
import { nonFinite } from '../files/non-finite.js';
import { openSafetensors } from '../files/safetensors-read.js';
import { type ByteSource, fileSource } from '../files/source.js';
import { parseJson } from '../files/strict-json.js';
import type { TensorRef } from '../tensor/tensor.js';
import { baseNamedAs } from './base-names.js';
import type { BaseFacts, Layout, LayoutOutput, PeftConfig, Shapes } from './layout.js';
import { configName, indexName, pickleName, sidecarName, weightsName } from './names.js';
import { builtinLayouts, type Layouts } from './registry.js';
import { readSidecar, shapesIn } from './sidecar.js';

/** An adapter's files without a folder: chosen by a visitor, or fetched. */
export interface AdapterFiles {
  readonly config: ByteSource;
  readonly weights: ByteSource;
  readonly sidecar?: ByteSource;
}

export interface ReadAdapterOptions {
  readonly layouts?: Layouts;
  /** Kinds of terms, where a package brings some. */
  readonly kinds?: Kinds;
  /**
   * The base it belongs to, so that names, shapes and layouts are checked against it. Needed for files that do not say the
   * shapes of what they change (SHIRA, SUPERTUNING, IA3, VERA, rows of tables), unless peftjs.json beside them does.
   */
  readonly base?: BaseFacts;
  /** Such shapes, where the base is not to be checked against: asked for when neither it nor peftjs.json has them. */
  readonly shapes?: Shapes;
  /** Hears what is unusual but allowed. Default: console.warn. */
  readonly warn?: (message: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Reads an adapter as PEFT saves it: a folder with `adapter_config.json` and `adapter_model.safetensors`. Nothing is
 * executed, no path or address in the files is followed, and what would be ignored silently elsewhere (missing, extra,
 * misnamed tensors) is an error.
 * @throws PeftError FILE_MISSING, FILE_INVALID, ADAPTER_INVALID, ADAPTER_MISMATCH, CONFIG_UNSUPPORTED; CONFIG_INVALID
 *   where the base is needed
 */
export async function readAdapter(input: string | AdapterFiles, options: ReadAdapterOptions = {}): Promise<Adapter> {
  const { layouts = builtinLayouts, kinds = builtinKinds, base = {}, warn = console.warn, signal } = options;
  const files = typeof input === 'string' ? await findFiles(input, warn) : input;
  const subject = typeof input === 'string' ? `The adapter in ${input}` : `The adapter ${files.config.name}`;
  const config = await readConfig(files.config, signal);
  const layout = layoutOf(config, layouts, subject);
  const weights = await openSafetensors(files.weights, signal ? { signal } : {});
  for (const message of weights.warnings) warn(message);
  const beside = files.sidecar && (await readJson(files.sidecar, signal));
  const known = shapesIn(beside);
  const shapes = known ? async () => known : options.shapes;
  const facts = baseNamedAs(weights.tensors.keys(), base);
  const folder = { config, tensors: weights.tensors, base: facts, kinds, subject, warn, ...(shapes && { shapes }) };
  const content = await withoutCopies(await layout.read(folder), facts);
  await refuseNonFinite(weights.tensors, subject, signal);
  await refuseBroken(content, kinds, subject);
  const digest = await contentDigest(content);
  const name = config.get('base_model_name_or_path');
  const adapter: Adapter = {
    ...underOwnPaths(content, base.targets ?? []),
    digest,
    ...(typeof name === 'string' && name !== '' && { base: { name } }),
    peft: Object.fromEntries(config),
  };
  if (!files.sidecar) return adapter;
  const extra = readSidecar(beside, digest);
  if (typeof extra !== 'string') return { ...adapter, ...extra };
  warn(`${subject}: its ${sidecarName} is left aside, because ${extra}.`);
  return adapter;
}

/**
 * PEFT stores the whole table of an adapted embedding beside its factors. Where that is the base's own, to the bit, it
 * replaces nothing.
 */
async function withoutCopies(content: LayoutOutput, { parameters }: BaseFacts): Promise<LayoutOutput> {
  const replaced = new Map(content.replaced);
  for (const [path, ref] of content.replaced) {
    const own = parameters?.get(path);
    if (!content.delta.params.has(path) || !own?.read || own.dtype !== ref.dtype) continue;
    if ((await digestTensor(own as TensorRef)) === (await digestTensor(ref))) replaced.delete(path);
  }
  return { ...content, replaced };
}

async function findFiles(folder: string, warn: (message: string) => void): Promise<AdapterFiles> {
  const entry = await platform.entry(platform.resolve(folder));
  if (entry?.kind !== 'directory')
    throw new PeftError(
      'FILE_MISSING',
      `${folder} is ${entry ? 'not a directory' : 'not there'}: an adapter is a folder with ${configName} and ${weightsName}.`,
    );
  const names = await platform.list(platform.resolve(folder));
  const at = (name: string) => fileSource(platform.resolve(folder, name));
  if (!names.includes(configName))
    throw new PeftError('FILE_MISSING', `${folder} has no ${configName}, so it is no adapter of PEFT.`, {
      details: { names },
    });
  if (!names.includes(weightsName)) throw noWeights(folder, names);
  if (names.includes(pickleName)) warn(`${folder} has ${pickleName} beside ${weightsName}; it is not read.`);
  const sidecar = names.includes(sidecarName) ? { sidecar: await at(sidecarName) } : {};
  return { config: await at(configName), weights: await at(weightsName), ...sidecar };
}

function noWeights(folder: string, names: readonly string[]): PeftError {
  const details = { names };
  if (names.includes(indexName))
    return new PeftError(
      'CONFIG_UNSUPPORTED',
      `${folder} has a sharded adapter (${indexName}), which PEFT never writes. Join it into ${weightsName}.`,
      { details },
    );
  if (names.includes(pickleName))
    return new PeftError(
      'CONFIG_UNSUPPORTED',
      `${folder} has only ${pickleName}, a Python pickle, which can run code and is never opened. Load it in Python where you trust it and call save_pretrained(..., safe_serialization=True).`,
      { details },
    );
  return new PeftError('FILE_MISSING', `${folder} has no ${weightsName}.`, { details });
}

async function readJson(source: ByteSource, signal: AbortSignal | undefined): Promise<unknown> {
  const bytes = await source.read(0, source.size, signal ? { signal } : {});
  return toPlain(parseJson(bytes, { subject: source.name }));
}

async function readConfig(source: ByteSource, signal: AbortSignal | undefined): Promise<PeftConfig> {
  const bytes = await source.read(0, source.size, signal ? { signal } : {});
  const value = parseJson(bytes, { subject: source.name });
  if (!isJsonObject(value)) throw new PeftError('ADAPTER_INVALID', `${source.name} is not a JSON object.`);
  return new Map([...value].map(([key, member]) => [key, toPlain(member)]));
}

function layoutOf(config: PeftConfig, layouts: Layouts, subject: string): Layout {
  const type = config.get('peft_type');
  if (typeof type !== 'string')
    throw new PeftError(
      'ADAPTER_INVALID',
      `${subject} does not say its peft_type (found: ${JSON.stringify(type) ?? 'nothing'}).`,
    );
  const layout = layouts.get(type);
  if (layout) return layout;
  const upper = layouts.has(type.toUpperCase()) ? ` PEFT writes it as ${type.toUpperCase()}.` : '';
  throw new PeftError(
    'CONFIG_UNSUPPORTED',
    `${subject} has peft_type ${JSON.stringify(type)}, which is not read here (known: ${[...layouts.keys()].join(', ')}).${upper}`,
    { details: { peftType: type, known: [...layouts.keys()] } },
  );
}

/** Terms whose shapes or numbers break the rules of their kinds. */
async function refuseBroken({ delta }: LayoutOutput, kinds: Kinds, subject: string): Promise<void> {
  const problems = new Problems();
  for (const [path, terms] of delta.params)
    for (const term of terms) {
      const kind = kindOf(term, kinds);
      const shape = delta.shape.get(path)!;
      const found = kind.problems(term, shape);
      const broken = found.length > 0 ? found : ((await kind.check?.(term, shape)) ?? []);
      for (const problem of broken) problems.add(`"${path}": ${problem}.`);
    }
  problems.throwIfAny('ADAPTER_INVALID', subject);
}

async function refuseNonFinite(
  tensors: Parameters<typeof nonFinite>[0],
  subject: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const problems = new Problems();
  for (const { name, count, index } of await nonFinite(tensors, signal ? { signal } : {}))
    problems.add(`"${name}" has ${count} values that are NaN or infinite, the first at ${index}.`);
  problems.throwIfAny('ADAPTER_INVALID', subject);
}
