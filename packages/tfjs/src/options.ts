import { PeftError } from '@peftjs/core';

/** In the order in which `auto` tries them. */
export const devices = ['tfjs-node-gpu', 'tfjs-node', 'webgpu', 'wasm', 'cpu'] as const;
export type Device = (typeof devices)[number];

export interface TfjsOptions {
  /** Default `auto`: the first that works here of tfjs-node-gpu, tfjs-node, webgpu, wasm and cpu (plain JavaScript). */
  readonly device?: Device | 'auto';
  /** In a page: the address of the folder with TensorFlow.js's `.wasm` files. Default: beside the script. */
  readonly wasmPath?: string;
}

/** @throws PeftError CONFIG_INVALID */
export function checkOptions({ device = 'auto' }: TfjsOptions): void {
  if (device === 'auto' || devices.includes(device)) return;
  throw new PeftError('CONFIG_INVALID', `tfjs: the device "${device}" is not one of ${devices.join(', ')} and auto.`);
}
