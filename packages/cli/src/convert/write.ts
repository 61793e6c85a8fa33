import { encodeOnnxAdapter, ggufOfAdapter, onnxParameters, slotNames, writeAdapter, writeGguf } from '@peftjs/core';
import { writeFileAtomic } from '@peftjs/core/files';
import { type AdapterInput, readAdapterAs } from '../any-adapter.js';
import { baseShape } from '../base-shape.js';
import type { Result } from '../command.js';
import { writeMerged } from '../merge-attach.js';
import type { Plugins } from '../plugins.js';
import { labelsOf, openModel, taskOf } from '../tasks.js';
import { UsageError } from '../usage.js';
import { toOnnx } from './onnx.js';

/** A conversion with nothing left open. */
export interface Conversion extends AdapterInput {
  readonly plugins: Plugins;
  readonly output: string;
  /** The layout of PEFT's files, by `peft_type`. */
  readonly layout: string | undefined;
  readonly dtype: 'f32' | 'f16';
  readonly names: keyof typeof slotNames;
  readonly targetModules: readonly string[] | undefined;
  readonly signal: AbortSignal;
}

async function toPeft(conversion: Conversion): Promise<Result> {
  const adapter = await readAdapterAs(conversion);
  const { kinds, layouts } = conversion.plugins;
  const asked = conversion.layout === undefined ? {} : { layout: conversion.layout };
  const { layout } = await writeAdapter(conversion.output, adapter, {
    kinds,
    layouts,
    signal: conversion.signal,
    ...asked,
  });
  return { layout, modules: adapter.delta.params.size, digest: adapter.digest };
}

async function toGguf(conversion: Conversion): Promise<Result> {
  const { output, dtype, base, signal } = conversion;
  const adapter = await readAdapterAs(conversion);
  const shape = await baseShape(base, 'GGUF names the architecture of the base and orders rows by its heads');
  const content = await ggufOfAdapter(adapter, { ...shape, dtype, kinds: conversion.plugins.kinds });
  await writeGguf(output, content, { signal });
  const alpha = content.metadata.get('adapter.lora.alpha')?.value;
  return { tensors: content.tensors.size, modules: content.tensors.size / 2, alpha, digest: adapter.digest };
}

async function toOnnxAdapter(conversion: Conversion): Promise<Result> {
  const { output, dtype, signal } = conversion;
  const adapter = await readAdapterAs(conversion);
  const options = { dtype, names: slotNames[conversion.names], kinds: conversion.plugins.kinds };
  const parameters = await onnxParameters(adapter, options);
  await writeFileAtomic(output, await encodeOnnxAdapter({ parameters }), { signal });
  return { tensors: parameters.size, modules: parameters.size / 2, digest: adapter.digest };
}

async function toMerged(conversion: Conversion): Promise<Result> {
  const { base, output, plugins } = conversion;
  if (base === undefined) throw new UsageError(['--base is missing: the model that the adapter is merged into']);
  const adapter = await readAdapterAs(conversion);
  const labels = labelsOf(adapter);
  const model = await openModel(base, await taskOf(base, adapter), { labels, newHead: labels !== undefined });
  return { ...(await writeMerged(model, adapter, output, plugins.kinds)), digest: adapter.digest };
}

/** What can be made, by the name of the format. */
export const writers = {
  peft: toPeft,
  gguf: toGguf,
  'onnx-adapter': toOnnxAdapter,
  merged: toMerged,
  onnx: toOnnx,
} as const satisfies Readonly<Record<string, (conversion: Conversion) => Promise<Result>>>;
