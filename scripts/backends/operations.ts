import { type Backend, isPeftError, type Tensor } from '@peftjs/core';
import { bindings, buildCase, type Case, cases, compare, referenceBackend, withGradients } from '@peftjs/testkit';
import { shown, type Table } from './table.js';

/** The largest errors of a backend, as parts of the largest number of the tensor. */
interface Errors {
  readonly forward: number;
  /** Undefined where nothing is differentiated. */
  readonly gradient: number | undefined;
}

type Results = readonly Record<string, Tensor>[];

/** For each operation the cases in float32 that have the fewest other operations beside it. */
function simplest(): Map<string, Case[]> {
  const found = new Map<string, { size: number; cases: Case[] }>();
  for (const test of cases) {
    const { graph } = buildCase({ ...test, forwardOnly: true });
    if ([...graph.values.values()].some(({ dtype }) => dtype === 'f64')) continue;
    for (const op of new Set(graph.nodes.map(({ op }) => op))) {
      const known = found.get(op);
      if (!known || graph.nodes.length < known.size) found.set(op, { size: graph.nodes.length, cases: [test] });
      else if (graph.nodes.length === known.size) known.cases.push(test);
    }
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([op, { cases }]) => [op, cases]));
}

async function results(backend: Backend, test: Case): Promise<Results> {
  const built = withGradients(buildCase(test));
  const outputs = [...built.outputs.map(({ name }) => name), ...built.wrt.map(({ name }) => `d ${name}`)];
  const program = await backend.compile(built.graph, { outputs });
  const runs: Record<string, Tensor>[] = [];
  for (const binding of bindings) runs.push(await program.run(built.feeds(binding)));
  await program.dispose();
  return runs;
}

function errorsOf(got: Results, expected: Results): Errors {
  const all = { forward: [] as number[], gradient: [] as number[] };
  got.forEach((outputs, run) => {
    for (const [name, tensor] of Object.entries(outputs)) {
      const { maxRel } = compare(tensor, expected[run]![name]!, { absolute: 0 });
      all[name.startsWith('d ') ? 'gradient' : 'forward'].push(maxRel);
    }
  });
  return {
    forward: Math.max(...all.forward),
    gradient: all.gradient.length > 0 ? Math.max(...all.gradient) : undefined,
  };
}

/** The worst of some cases, as text: forward / gradient; a dash where the backend has not all that they need. */
async function measure(backend: Backend, tests: readonly Case[]): Promise<string> {
  const all: Errors[] = [];
  try {
    for (const test of tests)
      all.push(errorsOf(await results(backend, test), await results(referenceBackend({ wide: true }), test)));
  } catch (error) {
    if (!isPeftError(error) || error.code !== 'BACKEND_UNSUPPORTED') throw error;
    return '–';
  }
  const gradients = all.flatMap(({ gradient }) => gradient ?? []);
  const worst = [all.map(({ forward }) => forward), gradients].filter((errors) => errors.length > 0);
  return worst.map((errors) => shown(Math.max(...errors))).join(' / ');
}

/** Backend × operation: the largest errors against float64, of the result and of the gradients. */
export async function operationTable(backends: ReadonlyMap<string, Backend>): Promise<Table> {
  const rows: string[][] = [['operation', ...backends.keys()]];
  for (const [op, tests] of simplest()) {
    const cells: string[] = [];
    for (const backend of backends.values()) cells.push(await measure(backend, tests));
    rows.push([`\`${op}\``, ...cells]);
  }
  return rows;
}
