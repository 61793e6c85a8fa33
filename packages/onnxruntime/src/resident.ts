import { createGraph, createOps, type DType, encodeModel, type Selection } from '@peftjs/core';
import type { Device } from './options.js';
import type { Ort, OrtOptions, OrtTensor } from './ort.js';

const dtypes: readonly DType[] = ['f32', 'f16'];

/**
 * Carried outputs that stay in the graphics card's memory from run to run: those that nobody asks to see, and that a
 * node makes (what passes through would be given back to us as the very tensor that we fed).
 */
export function residentOutputs({ graph, outputs, carry }: Selection, device: Device): string[] {
  if (device !== 'webgpu') return [];
  const made = new Set(graph.nodes.flatMap((node) => node.outputs.map((value) => value?.name)));
  return Object.keys(carry).filter(
    (name) => !outputs.includes(name) && made.has(name) && dtypes.includes(graph.values.get(name)!.dtype),
  );
}

/** Gives back what a tensor holds on the device. */
export function free(tensor: OrtTensor | undefined): void {
  if (tensor?.location === 'gpu-buffer') tensor.dispose();
}

/** Copies tensors of a device into this process's memory. */
export interface Reader {
  read(tensor: OrtTensor): Promise<OrtTensor>;
  dispose(): Promise<void>;
}

/**
 * Reads by a session that returns what it is fed: the tensors' own way ends the process in onnxruntime-node 1.30.
 * @param options those of the session that made the tensors
 */
export function createReader(ort: Ort, { executionProviders, logSeverityLevel }: OrtOptions): Reader {
  const sessions = new Map<string, ReturnType<typeof open>>();
  async function open({ type, dims }: OrtTensor) {
    const graph = createGraph('read');
    const ops = createOps(graph);
    const shape = dims.map((_, axis) => `axis${axis}`);
    ops.output(ops.identity(ops.input('x', type === 'float16' ? 'f16' : 'f32', shape)), 'y');
    return ort.InferenceSession.create(await encodeModel(graph), {
      executionProviders: executionProviders!,
      logSeverityLevel: logSeverityLevel!,
    });
  }
  return {
    async read(tensor) {
      const form = `${tensor.type} ${tensor.dims.length}`;
      const session = sessions.get(form) ?? open(tensor);
      sessions.set(form, session);
      return (await (await session).run({ x: tensor })).y!;
    },
    async dispose() {
      for (const session of sessions.values()) await (await session).release();
      sessions.clear();
    },
  };
}
