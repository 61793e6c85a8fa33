import {
  type Backend,
  checkedProgram,
  type Graph,
  PeftError,
  type Program,
  type Selection,
  select,
} from '@peftjs/core';
import { type Choice, choose } from './device.js';
import { dtypes, type Held } from './held.js';
import { checkOptions, type TfjsOptions } from './options.js';
import { makePlan, operationNames } from './plan.js';
import { createProgram } from './program.js';
import { createWeights, type Weights } from './weights.js';

/**
 * TensorFlow.js as a backend: native TensorFlow in Node, WebGPU, WebAssembly or plain JavaScript. Graphs are
 * interpreted node by node; weights are uploaded once for all programs. A device is loaded at the first use.
 */
export function tfjs(options: TfjsOptions = {}): Backend {
  checkOptions(options);
  const open = new Set<Program>();
  let started: Promise<Choice & { weights: Weights }> | undefined;
  let device: string = options.device ?? 'auto';

  async function chosen() {
    started ??= choose(options).then((choice) => ({ ...choice, weights: createWeights(choice.backend) }));
    const settled = await started.catch((error: unknown) => {
      started = undefined; // what is missing can be installed
      throw error;
    });
    device = settled.device;
    return settled;
  }

  return {
    spec: 'v1',
    name: 'tfjs',
    get device() {
      return device;
    },
    async capabilities() {
      const choice = await chosen();
      return { dtypes, operations: operationNames, devices: [choice.device], weights: 'copied' };
    },
    async compile(graph, compileOptions = {}) {
      const { signal } = compileOptions;
      const selection = select(graph, compileOptions);
      const { backend, traits, weights, memory } = await chosen();
      const steps = makePlan(selection, traits);
      const taken = await takeWeights(selection, weights, signal);
      const program = createProgram({
        selection,
        steps,
        backend,
        weights: taken,
        release() {
          giveBack(selection.graph, weights, taken.keys());
          open.delete(program);
        },
      });
      open.add(program);
      return checkedProgram(selection, program, memory);
    },
    async dispose() {
      await Promise.all([...open].map((program) => program.dispose()));
    },
  };
}

/** The graph's weights on the device: all of them, or none is kept. */
async function takeWeights({ graph }: Selection, weights: Weights, signal?: AbortSignal): Promise<Map<string, Held>> {
  const taken = new Map<string, Held>();
  try {
    for (const [name, ref] of graph.weights) {
      if (signal?.aborted) throw new PeftError('CANCELLED', 'The compilation was cancelled.', { cause: signal.reason });
      taken.set(name, await weights.take(name, ref, graph.values.get(name)!.dtype, signal));
    }
    return taken;
  } catch (error) {
    giveBack(graph, weights, taken.keys());
    throw error;
  }
}

function giveBack(graph: Graph, weights: Weights, names: Iterable<string>): void {
  for (const name of names) weights.giveBack(graph.weights.get(name)!, graph.values.get(name)!.dtype);
}
