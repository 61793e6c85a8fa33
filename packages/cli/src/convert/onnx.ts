import { addOnnxSlots, attachDelta, attachOnnx, slotNames } from '@peftjs/core';
import { cloneGraph, type Graph, optimize, readModel, writeModel } from '@peftjs/core/graph';
import { readAdapterAs } from '../any-adapter.js';
import type { Result } from '../command.js';
import { formatOf } from '../formats.js';
import { openFor } from '../tasks.js';
import { UsageError } from '../usage.js';
import type { Conversion } from './conversion.js';

/** A plain ONNX model with inputs for adapters. */
async function withSlots({ path, names, targetModules, base }: Conversion): Promise<{ graph: Graph } & Result> {
  if (base !== undefined) throw new UsageError(['--base: an ONNX model needs none']);
  const targets = targetModules && { targetModules };
  const { graph, slots } = addOnnxSlots(await readModel(path), {
    names: slotNames[names],
    ...(targets && { targets }),
  });
  return { graph, modules: slots.length };
}

/** An adapter inside an ONNX model. */
async function inModel(conversion: Conversion, base: string): Promise<{ graph: Graph } & Result> {
  const adapter = await readAdapterAs(conversion);
  const graph = await attachOnnx(await readModel(base), adapter, { kinds: conversion.plugins.kinds });
  return { graph, modules: adapter.delta.params.size, digest: adapter.digest };
}

/** A model directory as a graph of ours, with an adapter in it when one is given. */
async function ofDirectory(conversion: Conversion, directory: string): Promise<{ graph: Graph } & Result> {
  const adapter = conversion.format === 'model' ? undefined : await readAdapterAs(conversion);
  const model = await openFor(directory, adapter);
  const plain = model.graph('predict', { read: false });
  const { kinds } = conversion.plugins;
  const made = adapter ? await attachDelta(plain, adapter, { kinds, parameters: model.parameters }) : plain;
  const graph = cloneGraph(made.graph);
  graph.outputs.splice(0, graph.outputs.length, ...Object.values(made.outputs));
  optimize(graph);
  return { graph, modules: adapter?.delta.params.size ?? 0, ...(adapter && { digest: adapter.digest }) };
}

/**
 * To ONNX: a plain ONNX model becomes adapter-ready; an adapter goes into the base, an ONNX model or a directory; a
 * model directory is exported.
 */
export async function toOnnx(conversion: Conversion): Promise<Result> {
  const { format, path, base, output, signal } = conversion;
  const make = async () => {
    if (format === 'onnx') return withSlots(conversion);
    if (format === 'model') return ofDirectory(conversion, path);
    if (base === undefined) throw new UsageError(['--base is missing: the model that the adapter belongs to']);
    return (await formatOf(base)) === 'onnx' ? inModel(conversion, base) : ofDirectory(conversion, base);
  };
  const { graph, ...result } = await make();
  await writeModel(output, graph, { signal });
  return { tensors: graph.weights.size, inputs: graph.inputs.map(({ name }) => name), ...result };
}
