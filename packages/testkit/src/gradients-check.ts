import {
  createGraph,
  createOps,
  type Dim,
  gradients,
  isFloat,
  type Ops,
  type ShapedValue,
  type Tensor,
} from '@peftjs/core';
import { type Comparison, expectClose, type Tolerance } from './allclose.js';
import { finiteDifference } from './finite-difference.js';
import { referenceBackend } from './reference/backend.js';

export interface CheckedInput {
  readonly tensor: Tensor;
  /** Extents as the graph sees them; the tensor's own numbers when left out. */
  readonly shape?: readonly Dim[];
}

export interface GradientsCheckOptions {
  /** Inputs to differentiate with respect to. Default: all of floating type. */
  readonly wrt?: readonly string[];
  /** Default 1e-6 of the largest: the constants of a graph are float32, in values and derivatives not always the same. */
  readonly tolerance?: Tolerance;
}

/**
 * Compares the gradients of a scalar with central differences, both computed in float64 by the reference backend.
 *
 * @param build appends the graph and returns the loss, shape []
 * @returns the figures by input
 * @throws an error naming the input, the largest difference and where it is
 */
export async function checkGradients(
  build: (ops: Ops, inputs: Readonly<Record<string, ShapedValue>>) => ShapedValue,
  inputs: Readonly<Record<string, Tensor | CheckedInput>>,
  { wrt, tolerance = { relToMax: 1e-6, absolute: 1e-9 } }: GradientsCheckOptions = {},
): Promise<Record<string, Comparison>> {
  const given = Object.entries(inputs).map(([name, input]) =>
    'tensor' in input ? { name, ...input } : { name, tensor: input },
  );
  const graph = createGraph('checkGradients');
  const ops = createOps(graph);
  const values = Object.fromEntries(
    given.map(({ name, tensor, shape }) => {
      const dtype = tensor.dtype === 'f64' ? 'f32' : tensor.dtype;
      return [name, ops.input(name, dtype, shape ?? tensor.shape)];
    }),
  );
  const loss = ops.output(build(ops, values), 'loss');
  const names = wrt ?? given.filter(({ tensor }) => isFloat(tensor.dtype)).map(({ name }) => name);
  const wanted = names.map((name) => values[name]!);
  for (const [i, g] of gradients(graph, loss, wanted).entries()) ops.output(g, `d ${names[i]}`);

  const program = await referenceBackend({ wide: true }).compile(graph);
  try {
    const feeds = Object.fromEntries(given.map(({ name, tensor }) => [name, tensor]));
    const results = await program.run(feeds);
    const figures: Record<string, Comparison> = {};
    for (const name of names) {
      const expected = await finiteDifference(program, { output: 'loss', feeds }, name);
      figures[name] = expectClose(`gradient of "${name}"`, results[`d ${name}`]!, expected, tolerance);
    }
    return figures;
  } finally {
    await program.dispose();
  }
}
