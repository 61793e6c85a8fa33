import { PeftError } from '@peftjs/core';

const devices = ['cpu', 'webgpu', 'cuda', 'dml', 'coreml', 'wasm', 'auto'] as const;
export type Device = (typeof devices)[number];
export type RuntimeKind = 'node' | 'web';

export interface OnnxRuntimeOptions {
  /** Default `cpu`. `auto` takes the first of cuda, dml and cpu that works here. */
  readonly device?: Device;
  /** Threads of one operation. Default: the runtime's own choice, one per physical core. */
  readonly threads?: number;
  /** Run in a worker thread: a run of onnxruntime-node blocks the thread it is called on. Default false. */
  readonly worker?: boolean;
  /** Default: onnxruntime-node where it is installed, else onnxruntime-web. */
  readonly runtime?: RuntimeKind;
  /** Where widened weights are kept for the next time. Default: `peftjs` in the user's cache folder. */
  readonly cacheDir?: string;
  /** What the runtime prints to standard error: 0 everything to 4 nothing but fatal faults. Default 3, errors. */
  readonly logSeverity?: 0 | 1 | 2 | 3 | 4;
}

/** @throws PeftError CONFIG_INVALID */
export function checkOptions({ device = 'cpu', runtime, threads }: OnnxRuntimeOptions): void {
  const fail = (problem: string): never => {
    throw new PeftError('CONFIG_INVALID', `onnxruntime: ${problem}.`);
  };
  if (!devices.includes(device)) fail(`the device "${device}" is not one of ${devices.join(', ')}`);
  if (device === 'wasm' && runtime === 'node') fail('the device "wasm" belongs to the runtime "web"');
  if (threads !== undefined && !(Number.isInteger(threads) && threads > 0))
    fail(`threads is ${threads}; give 1 or more`);
}
