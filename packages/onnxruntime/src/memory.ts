import { byteLength, type Graph, processMemory } from '@peftjs/core';
import type { Device } from './options.js';

/** What WebAssembly can address. */
const addressable = 2 ** 32;

/**
 * Bytes that a run on a device may take. Nobody tells how much a graphics card has.
 * @param taken bytes that a program has taken for good
 */
export function memoryOn(device: Device, taken = 0): number {
  if (device === 'cpu') return processMemory() - taken;
  return device === 'wasm' ? Math.min(processMemory(), addressable) - taken : Number.POSITIVE_INFINITY;
}

export function weightBytes({ weights, values }: Graph): number {
  let bytes = 0;
  for (const [name, { shape }] of weights) bytes += byteLength(values.get(name)!.dtype, shape);
  return bytes;
}
