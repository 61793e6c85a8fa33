import { isPeftError } from '@peftjs/core';
import { type Device, tfjs } from '../src/index.js';

/** Why a device cannot be tried here; undefined where it can. */
async function whyNot(device: Device): Promise<string | undefined> {
  try {
    await tfjs({ device }).capabilities();
    return undefined;
  } catch (error) {
    if (!isPeftError(error) || error.code !== 'BACKEND_UNAVAILABLE') throw error;
    return error.message;
  }
}

const all: readonly Device[] = ['cpu', 'wasm', 'webgpu', 'tfjs-node-gpu', 'tfjs-node'];

/** Every device with the reason to skip it. The two native packages share a name: the first that there is stays. */
export const devices: { readonly device: Device; readonly skip: string | undefined }[] = [];
for (const device of all) devices.push({ device, skip: await whyNot(device) });

/** Those that there are. */
export const present = devices.filter(({ skip }) => !skip).map(({ device }) => device);
