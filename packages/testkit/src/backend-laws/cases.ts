import { type Backend, type Capabilities, type DType, isFloat, type Tensor } from '@peftjs/core';
import { expectBitEqual, expectClose, type Tolerance } from '../allclose.js';
import { type BuiltCase, bindings, buildCase, type Case, cases, withGradients } from '../cases/index.js';
import { expectPeftError, type Law } from '../law.js';
import { referenceBackend } from '../reference/backend.js';

/** What of a graph a backend says it cannot do. */
function unsupported({ graph }: BuiltCase, { operations, dtypes }: Capabilities): string[] {
  const missing = graph.nodes.filter(({ op }) => operations !== 'all' && !operations.includes(op)).map(({ op }) => op);
  const types = [...graph.values.values()].map(({ dtype }) => dtype).filter((dtype: DType) => !dtypes.includes(dtype));
  return [...new Set([...missing, ...types])];
}

const names = ({ outputs, wrt }: BuiltCase): string[] => [
  ...outputs.map(({ name }) => name),
  ...wrt.map(({ name }) => `d ${name}`),
];

async function results(backend: Backend, built: BuiltCase): Promise<Record<string, Tensor>[]> {
  const program = await backend.compile(built.graph, { outputs: names(built) });
  try {
    const runs: Record<string, Tensor>[] = [];
    for (const binding of bindings) runs.push(await program.run(built.feeds(binding)));
    return runs;
  } finally {
    await program.dispose();
  }
}

/** Forward values and gradients of one case, two batch sizes through one program, against float64. */
async function checkCase(backend: Backend, test: Case, tolerance: Tolerance): Promise<void> {
  const built = withGradients(buildCase(test));
  const missing = unsupported(built, await backend.capabilities());
  if (missing.length > 0) {
    await expectPeftError(() => backend.compile(built.graph), ['BACKEND_UNSUPPORTED'], missing.slice(0, 1));
    return;
  }
  const expected = await results(referenceBackend({ wide: true }), built);
  const got = await results(backend, built);
  got.forEach((outputs, run) => {
    for (const name of names(built)) {
      const label = `${test.name}, run ${run + 1}: ${name}`;
      const declared = built.graph.values.get(name)!.dtype;
      if (outputs[name]?.dtype !== declared)
        throw new Error(`${label} is ${outputs[name]?.dtype}, declared ${declared}`);
      if (isFloat(declared)) expectClose(label, outputs[name], expected[run]![name]!, tolerance);
      else expectBitEqual(label, outputs[name], expected[run]![name]!);
    }
  });
}

export const caseLaws = (backend: () => Promise<Backend>, tolerance: Tolerance): Law[] =>
  cases.map((test) => ({
    name: `computes ${test.name}${test.forwardOnly ? '' : ' and its gradients'}`,
    check: async () => checkCase(await backend(), test, tolerance),
  }));
