import { type Backend, isPeftError } from '@peftjs/core';
import { onnxruntime } from '@peftjs/onnxruntime';
import { tfjs } from '@peftjs/tfjs';

/** Everything that may be here, the one that the others are compared with first. */
const all = (): readonly Backend[] => [
  ...(['cpu', 'cuda', 'webgpu'] as const).map((device) => onnxruntime({ runtime: 'node', device, threads: 1 })),
  onnxruntime({ runtime: 'web', device: 'wasm', threads: 1 }),
  ...(['cpu', 'wasm', 'webgpu', 'tfjs-node'] as const).map((device) => tfjs({ device })),
];

/**
 * The backends that work on this machine, by name and device; why others do not is printed.
 * @param only their names; all of them by default
 */
export async function backendsHere(only?: readonly string[]): Promise<Map<string, Backend>> {
  const found = new Map<string, Backend>();
  for (const backend of all().filter(({ name, device }) => only?.includes(`${name} ${device}`) ?? true)) {
    const there = await backend.capabilities().catch((error: unknown) => {
      if (!isPeftError(error) || error.code !== 'BACKEND_UNAVAILABLE') throw error;
      console.error(error.message);
    });
    if (there) found.set(`${backend.name} ${backend.device}`, backend);
  }
  return found;
}

export async function disposeAll(backends: ReadonlyMap<string, Backend>): Promise<void> {
  for (const backend of backends.values()) await backend.dispose();
}
