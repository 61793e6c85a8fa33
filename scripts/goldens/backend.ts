import { type Backend, PeftError } from '@peftjs/core';
import { onnxruntime } from '@peftjs/onnxruntime';
import { referenceBackend } from '@peftjs/testkit';

const backends: Readonly<Record<string, () => Backend>> = {
  onnxruntime: () => onnxruntime(),
  /** Float64 in plain JavaScript: slow, and the closest to what the cases were checked against. */
  reference: () => referenceBackend(),
};

/** @throws PeftError CONFIG_INVALID naming the backends there are */
export function makeBackend(name: string): Backend {
  const make = backends[name];
  if (make) return make();
  throw new PeftError('CONFIG_INVALID', `No backend "${name}": choose from ${Object.keys(backends).join(', ')}.`);
}
