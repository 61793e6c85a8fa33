import { copyFile, cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Adapter,
  applyAdapter,
  type Kinds,
  onAllSharing,
  type Parameters,
  type TensorRef,
  underOwnPaths,
} from '@peftjs/core';
import { openWeights, writeSharded } from '@peftjs/core/files';
import type { Model } from '@peftjs/models';

/** Configuration, tokenizer and licence of a model directory: what is not weights. */
const COMPANION = /\.(json|txt|model|jinja|md)$|^(LICENSE|NOTICE)/i;
const WEIGHTS = /\.index\.json$/;
/** Modules of sentence-transformers lie in folders of their own: `1_Pooling`. */
const MODULE_FOLDER = /^\d+_\w+$/;

export interface MergeInto {
  readonly kinds: Kinds;
  /** Done to the merged parameters before they are written. */
  readonly change?: (parameters: Parameters) => Parameters;
  /** Done to config.json. */
  readonly configure?: (config: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;
  readonly signal?: AbortSignal;
}

/** The same bytes of the same file. */
const place = ({ file }: TensorRef): string | undefined => file && `${file.path}:${file.offset}`;

/**
 * The checkpoint's tensors, under its own names, with the adapter in them. An alias (a tied head) that no longer equals
 * its source gets a tensor of its own: `untied` says so.
 */
export async function mergedTensors(model: Model, adapter: Adapter, { kinds, change = (all) => all }: MergeInto) {
  const { tensors: checkpoint } = await openWeights(model.directory);
  const own = onAllSharing(underOwnPaths(adapter, model.targets), model.targets, kinds);
  const merged = change(applyAdapter(model.parameters, own, { kinds }).parameters);
  const pathsAt = new Map<string, string[]>();
  for (const [path, ref] of model.parameters) {
    const at = place(ref);
    if (at !== undefined) pathsAt.set(at, [...(pathsAt.get(at) ?? []), path]);
  }
  const isAlias = (path: string) => path in model.tied;

  const out = new Map<string, TensorRef>();
  for (const [name, ref] of checkpoint) {
    const own = (pathsAt.get(place(ref) ?? '') ?? []).find((path) => !isAlias(path));
    out.set(name, own === undefined ? ref : merged.get(own)!);
  }
  const untied = Object.entries(model.tied).some(([alias, source]) => merged.get(alias) !== merged.get(source));
  for (const alias of untied ? Object.keys(model.tied) : []) out.set(alias, merged.get(alias)!);
  for (const path of model.created) out.set(path, merged.get(path)!);
  return { tensors: out, untied };
}

/** config.json with what the merge changed: a head that is no longer tied, a new classification head. */
function mergedConfig(raw: Readonly<Record<string, unknown>>, model: Model, untied: boolean): Record<string, unknown> {
  const config: Record<string, unknown> = { ...raw };
  if (untied) config.tie_word_embeddings = false;
  const { labels, name } = model.task;
  if (model.created.length > 0 && labels) {
    const stem = (model.config.classes[0] ?? '').replace(/(Model|For\w+)$/, '');
    const purpose = name.replace(/(^|-)(.)/g, (_, __, letter: string) => letter.toUpperCase());
    if (stem) config.architectures = [`${stem}For${purpose}`];
    config.id2label = Object.fromEntries(labels.map((label, i) => [String(i), label]));
    config.label2id = Object.fromEntries(labels.map((label, i) => [label, i]));
  }
  return config;
}

/** Copies what lies beside the weights of a model. */
async function copyCompanions(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const { name } = entry;
    if (entry.isDirectory() && MODULE_FOLDER.test(name))
      await cp(join(from, name), join(to, name), { recursive: true });
    else if (!entry.isDirectory() && COMPANION.test(name) && !WEIGHTS.test(name))
      await copyFile(join(from, name), join(to, name));
  }
}

/**
 * Writes a Hugging Face model directory, complete or as it was before: merged weights, and the base's configuration and
 * tokenizer files.
 */
export async function writeMerged(
  model: Model,
  adapter: Adapter,
  output: string,
  how: MergeInto,
): Promise<{ tensors: number }> {
  const { tensors, untied } = await mergedTensors(model, adapter, how);
  const { configure = (config) => config, signal } = how;
  const raw = JSON.parse(await readFile(join(model.directory, 'config.json'), 'utf8')) as Record<string, unknown>;
  const config = configure(mergedConfig(raw, model, untied));
  await writeSharded(output, tensors, {
    metadata: new Map([['format', 'pt']]),
    ...(signal && { signal }),
    async companions(directory) {
      await copyCompanions(model.directory, directory);
      await writeFile(join(directory, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
    },
  });
  return { tensors: tensors.size };
}
