import { isPeftError, PeftError } from '@peftjs/core';
import * as tf from '@tensorflow/tfjs-core';
import { platform } from '#platform';
import { type Device, devices, type TfjsOptions } from './options.js';
import type { Loaded } from './platform/platform.js';
import { onBackend } from './scope.js';

export interface Choice extends Loaded {
  readonly device: Device;
}

/**
 * Loads the device that is asked for, or the first that works, and computes something on it.
 * @throws PeftError BACKEND_UNAVAILABLE with what is wrong and the install line, of every device tried
 */
export async function choose(options: TfjsOptions): Promise<Choice> {
  const { device = 'auto' } = options;
  const failures: PeftError[] = [];
  for (const each of device === 'auto' ? devices.filter((name) => platform[name]) : [device]) {
    try {
      return { device: each, ...(await start(each, options)) };
    } catch (error) {
      if (!isPeftError(error)) throw error;
      failures.push(error);
    }
  }
  const text = failures.map(({ message }) => message).join('\n');
  throw new PeftError('BACKEND_UNAVAILABLE', `TensorFlow.js has no device "${device}" here. ${text}`, {
    cause: failures[0],
    details: { device, devices: Object.keys(platform) },
  });
}

async function start(device: Device, options: TfjsOptions): Promise<Loaded> {
  const load = platform[device];
  if (!load) throw new PeftError('BACKEND_UNAVAILABLE', `${device} does not run in a page.`);
  tf.env().set('PROD', true); // otherwise some backends print advice to install others
  const before = tf.getBackend();
  try {
    const loaded = await load(options);
    const { backend } = loaded;
    const ready = tf.findBackendFactory(backend) ? await tf.setBackend(backend) : false;
    if (!ready) throw new Error('this environment does not offer it');
    probe(backend);
    return loaded;
  } catch (cause) {
    if (isPeftError(cause)) throw cause;
    throw new PeftError('BACKEND_UNAVAILABLE', `${device} does not start: ${(cause as Error).message}.`, { cause });
  } finally {
    if (before && before !== tf.getBackend()) await tf.setBackend(before);
  }
}

/** One small computation: some backends fail only then. */
function probe(backend: string): void {
  onBackend(backend, () => tf.tidy(() => void tf.neg([1, 2])));
}
