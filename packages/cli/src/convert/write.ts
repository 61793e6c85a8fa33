import {
  elementCount,
  encodeOnnxAdapter,
  ggufOfAdapter,
  onnxParameters,
  type Parameters,
  slotNames,
  writeAdapter,
  writeGguf,
} from '@peftjs/core';
import { writeFileAtomic } from '@peftjs/core/files';
import { linearFlops, pruningScores, weakest } from '@peftjs/dsee';
import { prunedConfig, prunedParameters } from '@peftjs/models';
import { readAdapterAs } from '../any-adapter.js';
import { baseShape } from '../base-shape.js';
import type { Result } from '../command.js';
import { writeMerged } from '../merge-attach.js';
import { openFor } from '../tasks.js';
import { UsageError } from '../usage.js';
import type { Conversion } from './conversion.js';
import { toOnnx } from './onnx.js';

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

/** The adapter, and the model that it is merged into. */
async function merging(conversion: Conversion) {
  const { base } = conversion;
  if (base === undefined) throw new UsageError(['--base is missing: the model that the adapter is merged into']);
  const adapter = await readAdapterAs(conversion);
  return { adapter, model: await openFor(base, adapter) };
}

async function toMerged(conversion: Conversion): Promise<Result> {
  const { adapter, model } = await merging(conversion);
  const { output, plugins, signal } = conversion;
  const written = await writeMerged(model, adapter, output, { kinds: plugins.kinds, signal });
  return { ...written, digest: adapter.digest };
}

const numbersIn = (parameters: Parameters): number =>
  [...new Set(parameters.values())].reduce((sum, { shape }) => sum + elementCount(shape), 0);

/** The merged model without the heads and channels that the adapter changes least. */
async function toPruned(conversion: Conversion): Promise<Result> {
  const { fewer, output, plugins, signal } = conversion;
  if (!fewer.heads && !fewer.channels)
    throw new UsageError(['--heads and --channels are missing: what goes of every layer, one of them at least']);
  const { adapter, model } = await merging(conversion);
  const removed = weakest(await pruningScores(adapter, model), fewer);
  const { targets } = model;
  let pruned = model.parameters;
  const change = (parameters: Parameters): Parameters => {
    pruned = prunedParameters({ targets, parameters }, removed);
    return pruned;
  };
  const configure = (config: Readonly<Record<string, unknown>>) =>
    prunedConfig(config, { targets, parameters: pruned });
  const written = await writeMerged(model, adapter, output, { kinds: plugins.kinds, change, configure, signal });
  return {
    ...written,
    parameters: numbersIn(model.parameters),
    left: numbersIn(pruned),
    flops: linearFlops(targets, model.parameters),
    flopsLeft: linearFlops(targets, pruned),
    digest: adapter.digest,
  };
}

/** What can be made, by the name of the format. */
export const writers = {
  peft: toPeft,
  gguf: toGguf,
  'onnx-adapter': toOnnxAdapter,
  merged: toMerged,
  pruned: toPruned,
  onnx: toOnnx,
} as const satisfies Readonly<Record<string, (conversion: Conversion) => Promise<Result>>>;
