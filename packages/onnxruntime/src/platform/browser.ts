import { PeftError } from '@peftjs/core';
import { installLines } from '../errors.js';
import type { Device } from '../options.js';
import type { Ort } from '../ort.js';
import type { Platform } from './platform.js';

async function importRuntime(device: Device): Promise<Ort> {
  try {
    return (device === 'webgpu'
      ? await import('onnxruntime-web/webgpu')
      : await import('onnxruntime-web/wasm')) as unknown as Ort; // half the size of what has WebGL and WebGPU too
  } catch (cause) {
    throw new PeftError('BACKEND_UNAVAILABLE', `onnxruntime-web cannot be loaded. Run: ${installLines.web}`, { cause });
  }
}

export const platform: Platform = {
  runtimes: ['web'],
  async load(kind, device) {
    if (kind === 'node')
      throw new PeftError('BACKEND_UNAVAILABLE', 'onnxruntime-node does not run in a page: leave `runtime` out.');
    const { navigator } = globalThis as { navigator?: object };
    const hasGpu = navigator !== undefined && 'gpu' in navigator;
    return { kind, ort: await importRuntime(device), devices: hasGpu ? ['wasm', 'webgpu'] : ['wasm'] };
  },
};
