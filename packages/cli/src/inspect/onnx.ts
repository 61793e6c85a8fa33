import { findOnnxSites, slotNames } from '@peftjs/core';
import { digestTensors, nonFinite } from '@peftjs/core/files';
import { readModel, type Value } from '@peftjs/core/graph';
import { byteLength } from '@peftjs/core/tensor';
import { dtypesOf, type Found } from './found.js';

const shown = ({ name, dtype, shape }: Value): string => `${name} ${dtype} [${shape ?? '?'}]`;

/** An ONNX model: what enters and leaves it, and where adapters can be added. */
export async function inspectOnnx(path: string): Promise<Found> {
  const graph = await readModel(path);
  const { sites, problems } = findOnnxSites(graph);
  const slots = graph.inputs.flatMap(({ name }) => Object.values(slotNames).flatMap((names) => names.read(name) ?? []));
  const refs = [...graph.weights.values()];
  const bad = await nonFinite(graph.weights);
  return {
    kind: 'onnx',
    method: null,
    opset: graph.opset[''],
    nodes: graph.nodes.length,
    inputs: graph.inputs.map(shown),
    outputs: graph.outputs.map(shown),
    modules: [...new Set(sites.map(({ module }) => module))],
    slots: [...new Set(slots.map(({ module }) => module))],
    tensors: refs.length,
    dtypes: dtypesOf(refs),
    bytes: refs.reduce((sum, { dtype, shape }) => sum + byteLength(dtype, shape), 0),
    digest: await digestTensors(graph.weights),
    problems: [
      ...problems,
      ...bad.map(
        ({ name, count, index }) => `"${name}" has ${count} values that are NaN or infinite, the first at ${index}.`,
      ),
    ],
  };
}
