import { type Backend, createGraph, createOps, type Graph, isFloat, type Tensor } from '@peftjs/core';
import { buildCase, cases, expectBitEqual, expectClose, referenceBackend } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { tfjs } from '../src/index.js';
import { present } from './devices.js';
import { type Sample, samples } from './samples.js';

/** The graph of one node. Inputs that are not float are constants or fed, by `fed`. */
function graphOf({ op, inputs, attributes = {}, outputs = ['f32'] }: Sample, fed: boolean): Graph {
  const graph = createGraph(op);
  const ops = createOps(graph);
  const values = inputs.map((tensor, i) => {
    if (!tensor) return undefined;
    return fed || isFloat(tensor.dtype)
      ? ops.input(`x${i}`, tensor.dtype, tensor.shape)
      : ops.constant(tensor, `x${i}`);
  });
  const made = ops.node(
    op,
    values,
    outputs.map((dtype) => ({ dtype, shape: ['any'] })),
    attributes,
  );
  for (const [i, value] of made.entries()) ops.output(value, `y${i}`);
  return graph;
}

async function results(backend: Backend, graph: Graph, { inputs }: Sample): Promise<Record<string, Tensor>> {
  const program = await backend.compile(graph);
  const named = inputs.map((tensor, i) => [`x${i}`, tensor!] as const);
  const feeds = Object.fromEntries(named.filter(([name]) => graph.inputs.some((input) => input.name === name)));
  const outputs = await program.run(feeds);
  await program.dispose();
  return outputs;
}

const titleOf = ({ op, inputs, attributes = {} }: Sample) =>
  [op, ...inputs.map((t) => (t ? `[${t.shape}]` : '-')), ...Object.keys(attributes)].join(' ');

describe.each(present)('operations of models made elsewhere, on %s', (device) => {
  const backend = tfjs({ device });

  it.each(samples.map((sample) => [titleOf(sample), sample] as const))('%s', async (_, sample) => {
    for (const fed of [false, true]) {
      const graph = graphOf(sample, fed);
      const expected = await results(referenceBackend(), graph, sample);
      for (const [name, tensor] of Object.entries(await results(backend, graph, sample))) {
        // Sums and products of float32 in another order than float64: a few units in the last place.
        if (isFloat(tensor.dtype)) expectClose(name, tensor, expected[name]!, { relToMax: 1e-6, absolute: 1e-7 });
        else expectBitEqual(name, tensor, expected[name]!);
      }
    }
  });

  it('every operation it says it has is tried here or by the laws', async () => {
    const tried = new Set(samples.map(({ op }) => op));
    for (const test of cases) for (const { op } of buildCase(test).graph.nodes) tried.add(op);
    const { operations } = await backend.capabilities();
    expect([...operations].filter((op) => !tried.has(op))).toEqual([]);
  });
});
