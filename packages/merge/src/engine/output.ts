import {
  type DType,
  fromBytes,
  isWeightFile,
  layoutSharded,
  PeftError,
  type Tensor,
  writeDirectoryAtomic,
  writeFileAtomic,
} from '@peftjs/core';
import type { Files } from '../platform/files.js';
import type { Planned } from './plan.js';
import type { Finished, Task } from './task.js';

export interface DirectoryOutput {
  readonly path: string;
  readonly maxShardBytes: number | undefined;
  /** The model whose configuration, tokenizer and licence go with the weights. */
  readonly like: string | undefined;
  /** Whose tokenizer goes with them, where that is another one. */
  readonly tokenizer: string | undefined;
  readonly outDtype: DType | undefined;
  readonly layers: readonly number[] | undefined;
  /** What was merged and how, for people. */
  readonly record: unknown;
}

/** Does all tasks that it is given, and hears of each that is done. */
export type PerformTasks = (tasks: readonly Task[]) => Promise<void>;

const tokenizerFiles = /^(tokenizer|vocab|merges|special_tokens|added_tokens|chat_template|spiece|sentencepiece)/;
const torchNames: Partial<Record<DType, string>> = { f32: 'float32', f16: 'float16', bf16: 'bfloat16' };
const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

/** Keys under which configurations count their layers. */
const layerCounts = ['num_hidden_layers', 'n_layer', 'num_layers', 'n_layers'];

/** What the merge changes about a configuration: the stored dtype, and the layers where they were stacked anew. */
export function mergedConfig(
  config: Readonly<Record<string, unknown>>,
  { outDtype, layers }: Pick<DirectoryOutput, 'outDtype' | 'layers'>,
): Record<string, unknown> {
  const changed: Record<string, unknown> = { ...config };
  const dtype = outDtype && torchNames[outDtype];
  if (dtype) for (const key of ['torch_dtype', 'dtype']) if (key in changed) changed[key] = dtype;
  if (!layers) return changed;
  for (const key of layerCounts) if (key in changed) changed[key] = layers.length;
  if (Array.isArray(changed.layer_types))
    changed.layer_types = layers.map((layer) => (config.layer_types as unknown[])[layer]);
  return changed;
}

/** Writes what lies beside the weights. */
async function writeCompanions(directory: string, output: DirectoryOutput, files: Files): Promise<void> {
  await writeFileAtomic(files.join(directory, 'peftjs_merge.json'), json(output.record));
  if (output.tokenizer !== undefined) await files.copyModelFiles(output.tokenizer, directory, tokenizerFiles);
  if (output.like === undefined) return;
  const config = await files.readText(files.join(output.like, 'config.json'));
  if (config !== undefined) {
    const merged = mergedConfig(JSON.parse(config) as Record<string, unknown>, output);
    await writeFileAtomic(files.join(directory, 'config.json'), json(merged));
  }
  await files.copyModelFiles(output.like, directory);
}

/** A Hugging Face directory: complete, or as it was before. */
export async function writeCheckpoint(
  planned: readonly Planned[],
  output: DirectoryOutput,
  files: Files | undefined,
  perform: PerformTasks,
): Promise<void> {
  if (!files)
    throw new PeftError('BACKEND_UNAVAILABLE', 'A page has no folders: leave `output` out and take the parameters.');
  const { maxShardBytes } = output;
  const described = new Map(planned.map(({ tensor, dtype, shape }) => [tensor, { dtype, shape }]));
  const { files: shards, index } = layoutSharded(described, {
    metadata: new Map([['format', 'pt']]),
    ...(maxShardBytes !== undefined && { maxShardBytes }),
  });
  const replaces = (file: string) => isWeightFile(file);
  await writeDirectoryAtomic(
    output.path,
    async (aside) => {
      const places = new Map<string, { path: string; offset: number }>();
      for (const { file, header, offsets, bytes } of shards) {
        const path = files.join(aside, file);
        await files.create(path, header, bytes);
        for (const [name, offset] of offsets) places.set(name, { path, offset });
      }
      await perform(
        planned.map(({ dtype, ...task }) => ({ ...task, target: { to: 'file', dtype, ...places.get(task.tensor)! } })),
      );
      if (index) await writeFileAtomic(files.join(aside, index.file), index.bytes);
      await writeCompanions(aside, output, files);
    },
    { replaces },
  );
}

/** The result in memory. */
export function inMemory(planned: readonly Planned[]) {
  const made = new Map<string, Tensor>();
  const tasks = planned.map(({ dtype, ...task }): Task => ({ ...task, target: { to: 'memory', dtype } }));
  const keep = ({ tensor, shape, target }: Task, { data }: Finished) => {
    if (data) made.set(tensor, fromBytes(target.dtype, shape, new Uint8Array(data)));
  };
  return { tasks, keep, tensors: () => new Map(planned.map(({ tensor }) => [tensor, made.get(tensor)!])) };
}
