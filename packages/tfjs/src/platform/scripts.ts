import { PeftError, processMemory } from '@peftjs/core';
import type { Device } from '../options.js';
import type { Platform } from './platform.js';

/** What WebAssembly can address. Beyond it, TensorFlow.js writes over its own memory. */
const addressable = 2 ** 32;

/** The devices that are JavaScript packages, the same in Node and in a page. */
export const scripts = {
  webgpu: async () => {
    const name = '@tensorflow/tfjs-backend-webgpu';
    await import('@tensorflow/tfjs-backend-webgpu').catch((cause: unknown) => {
      throw unavailable('webgpu', name, cause);
    });
    return { backend: 'webgpu', traits: { lazyCasts: true, roughSine: true } };
  },
  wasm: async ({ wasmPath }) => {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
    if (wasmPath !== undefined) setWasmPaths(wasmPath);
    return { backend: 'wasm', traits: { transposeFirst: true }, memory: Math.min(addressable, processMemory()) };
  },
  cpu: async () => {
    await import('@tensorflow/tfjs-backend-cpu');
    return { backend: 'cpu', traits: {}, memory: processMemory() };
  },
} satisfies Platform;

/** What to say when the package of a device cannot be loaded. */
export function unavailable(device: Device, name: string, cause: unknown): PeftError {
  const absent = /MODULE_NOT_FOUND$/.test(String((cause as { code?: unknown }).code));
  const problem = absent ? 'is not installed' : `cannot be loaded (${(cause as Error).message})`;
  return new PeftError('BACKEND_UNAVAILABLE', `${name} ${problem}. Run: npm install ${name}`, {
    cause,
    details: { device, package: name },
  });
}
