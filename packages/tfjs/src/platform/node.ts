import { createRequire } from 'node:module';
import { PeftError, processMemory } from '@peftjs/core';
import { findBackend } from '@tensorflow/tfjs-core';
import type { Device } from '../options.js';
import type { Loader, Platform } from './platform.js';
import { scripts, unavailable } from './scripts.js';

const require = createRequire(import.meta.url);

/** What TensorFlow.js 4.22 still calls of `node:util`, gone from it in Node 23. */
const removed = {
  isNullOrUndefined: (value: unknown) => value === null || value === undefined,
  isArray: Array.isArray,
};

/** A native package. Both register as "tensorflow", so one process can hold one of them. */
const native =
  (device: Device): Loader =>
  async () => {
    const name = `@tensorflow/${device}`;
    const util = require('node:util') as Record<string, unknown>;
    for (const [key, value] of Object.entries(removed)) util[key] ??= value;
    try {
      require(name); // CommonJS, and NODE_PATH is honoured: a build may lie outside the project
    } catch (cause) {
      throw unavailable(device, name, cause);
    }
    const { isGPUPackage } = findBackend('tensorflow') as { isGPUPackage?: boolean };
    if (isGPUPackage === (device === 'tfjs-node-gpu')) {
      return { backend: 'tensorflow', traits: {}, ...(device === 'tfjs-node' && { memory: processMemory() }) };
    }
    throw new PeftError(
      'BACKEND_UNAVAILABLE',
      `${name} cannot be used beside the other native package, which this process has loaded. Use one of them.`,
    );
  };

export const platform: Platform = {
  'tfjs-node-gpu': native('tfjs-node-gpu'),
  'tfjs-node': native('tfjs-node'),
  ...scripts,
};
