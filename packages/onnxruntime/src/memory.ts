import { byteLength, type Graph, type Memory } from '@peftjs/core';
import { platform } from '#platform';
import type { Device } from './options.js';

/** What WebAssembly can address. */
const addressable = 2 ** 32;

/**
 * The memory that a device has; nothing where nobody tells, as of a graphics card.
 * @param taken bytes of it that a program has taken for good
 */
export const memoryOn = (device: Device, taken = 0): Memory => ({
  ...((device === 'cpu' || device === 'wasm') && platform.freeMemory && { free: platform.freeMemory }),
  ...(device === 'wasm' && { limit: addressable - taken }),
});

export function weightBytes({ weights, values }: Graph): number {
  let bytes = 0;
  for (const [name, { shape }] of weights) bytes += byteLength(values.get(name)!.dtype, shape);
  return bytes;
}
