import type { Example, ModelGraph, Target, TaskModel } from '@peftjs/core';
import { digestTensors, type FileSet, openWeights } from '@peftjs/core/files';
import type { ShapedValue } from '@peftjs/core/graph';
import { createRandom, type TensorRef, tensorRef } from '@peftjs/core/tensor';
import type { Architecture, CacheShape } from './architectures/architecture.js';
import { architectures, findArchitecture } from './architectures/index.js';
import { type ChatTemplate, readChatTemplate } from './chat.js';
import { type ModelConfig, readConfig } from './config.js';
import { baseName, nameOf } from './directory.js';
import { buildForm, declaredParameters, type Form, type FormOptions } from './forms.js';
import { headOf, type ModelTask, type TaskFactory } from './tasks/task.js';
import { readTokenizer, type Tokenizer } from './tokenizer.js';
import { assertFinite, findTensor, resolveParameters } from './weights.js';

/** A Hugging Face model directory bound to a task. */
export interface Model<E extends Example = Example> extends TaskModel<E> {
  /** Its path, or what its set of files is called. */
  readonly directory: string;
  readonly config: ModelConfig;
  readonly architecture: Architecture;
  readonly task: ModelTask<E>;
  /** Undefined when the directory has no tokenizer.json. */
  readonly tokenizer: Tokenizer | undefined;
  readonly chatTemplate: ChatTemplate | undefined;
  /** Extents of the key/value cache; undefined for models that do not decode. */
  readonly cache: CacheShape | undefined;
  /** Parameters that are another one under a second name: alias -> source. */
  readonly tied: Readonly<Record<string, string>>;
  /** Parameters made new because the checkpoint has none (a classification head). */
  readonly created: readonly string[];
  graph(form: Form, options?: FormOptions): ModelGraph & { readonly loss?: ShapedValue };
}

export interface LoadOptions<E extends Example> {
  readonly task: TaskFactory<E>;
  /** Seed of new parameters. Default 0. */
  readonly seed?: number;
  /** Architectures to choose from, by `model_type`. Default: those of this package. */
  readonly architectures?: readonly Architecture[];
  /** Reads every weight once and refuses those that are not finite. Default false. */
  readonly checkFinite?: boolean;
}

/**
 * Opens a model directory, or a set of its files (in a page): configuration, tokenizer, and references to its weights;
 * nothing large is read.
 * @throws PeftError FILE_MISSING, FILE_INVALID, MODEL_UNSUPPORTED, CONFIG_INVALID
 */
export async function loadModel<E extends Example>(
  files: string | FileSet,
  options: LoadOptions<E>,
): Promise<Model<E>> {
  const directory = nameOf(files);
  const config = await readConfig(files);
  const architecture = findArchitecture(config.modelType, options.architectures ?? architectures);
  const built = architecture.config(config.raw);
  const tokenizer = await readTokenizer(files);
  const { tensors } = await openWeights(files);
  const task = await options.task({ files, directory, config, architecture, tokenizer, tensors });

  const tied = architecture.tied?.(built) ?? {};
  const fresh = newParameters(architecture, task, config, options.seed ?? 0);
  const names = {
    tensors: task.head.weights === 'new' ? without(tensors, fresh.module) : tensors,
    bodyPrefix: architecture.bodyPrefix,
    ...(architecture.aliases && { aliases: architecture.aliases }),
  };
  const shapeOf = (path: string) => findTensor(path, names)?.ref.shape;
  const declared = declaredParameters({ architecture, config: built, task, shapeOf });
  const parameters = resolveParameters({ ...names, declared, tied, create: fresh.create }, `"${directory}"`);
  if (options.checkFinite) await assertFinite(parameters, `"${directory}"`);

  const lookup = (path: string): TensorRef => parameters.get(path)!;
  const graph = (form: Form, of: FormOptions = {}) =>
    buildForm({ architecture, config: built, task, lookup, tied, shapeOf }, form, of);
  const targets: Target[] = [...graph('predict').sites.values()].map((site) => site.target);
  const created = [...fresh.created];
  return {
    name: baseName(directory),
    directory,
    config,
    architecture,
    task,
    tokenizer,
    chatTemplate: tokenizer && (await readChatTemplate(files, tokenizer)),
    cache: cacheOf(architecture.cache?.(built), targets),
    tied: Object.fromEntries(Object.entries(tied).filter(([alias]) => parameters.has(alias))),
    created,
    targets,
    parameters,
    digest: once(() => digestTensors(tensors)),
    graph,
  };
}

/** Parameters of the task's own module that the checkpoint has not: weights N(0, initializer_range), biases zero. */
function newParameters(architecture: Architecture, task: ModelTask, config: ModelConfig, seed: number) {
  const module = headOf(architecture, task.head.name).module;
  const random = createRandom(seed);
  const created = new Set<string>();
  return {
    module,
    created,
    create(path: string, shape: readonly number[]): TensorRef | undefined {
      if (task.head.weights !== 'new' || module === undefined || !path.startsWith(`${module}.`)) return undefined;
      created.add(path);
      const std = path.endsWith('.bias') ? 0 : config.initializerRange;
      return tensorRef(random.fork(path).normal(shape, 0, std));
    },
  };
}

/** The cache as the layers need it: pruned ones have fewer heads than the configuration says. */
function cacheOf(configured: CacheShape | undefined, targets: readonly Target[]): CacheShape | undefined {
  const kvHeads = targets.flatMap((target) => (target.role === 'key' ? [target.kvHeads!] : []));
  const same = kvHeads.every((heads) => heads === configured?.kvHeads);
  return configured && !same ? { ...configured, kvHeads } : configured;
}

const without = (tensors: ReadonlyMap<string, TensorRef>, module: string | undefined) =>
  new Map([...tensors].filter(([name]) => !name.startsWith(`${module}.`)));

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
