import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { PeftError } from '@peftjs/core';
import { installLines } from '../errors.js';
import type { Device, RuntimeKind } from '../options.js';
import type { Ort } from '../ort.js';
import { workerExecutor } from '../worker/client.js';
import { mapWeights } from './map-weights.js';
import type { LoadedRuntime, Platform } from './platform.js';

const packages = { node: 'onnxruntime-node', web: 'onnxruntime-web' } as const;

async function load(kind: RuntimeKind): Promise<LoadedRuntime> {
  const ort = await importRuntime(kind);
  return { kind, ort, devices: kind === 'web' ? ['wasm'] : nativeDevices(ort as Ort & NativeListing) };
}

async function importRuntime(kind: RuntimeKind): Promise<Ort> {
  try {
    const loaded = kind === 'node' ? await import('onnxruntime-node') : await import('onnxruntime-web');
    return ('default' in loaded && loaded.default ? loaded.default : loaded) as unknown as Ort;
  } catch (cause) {
    const code = String((cause as NodeJS.ErrnoException).code);
    const problem = code.endsWith('MODULE_NOT_FOUND')
      ? 'is not installed'
      : `cannot be loaded (${(cause as Error).message})`;
    throw new PeftError('BACKEND_UNAVAILABLE', `${packages[kind]} ${problem}. Run: ${installLines[kind]}`, { cause });
  }
}

interface NativeListing {
  listSupportedBackends(): readonly { readonly name: string; readonly bundled: boolean }[];
}

/** Providers in the package, and those whose library its install script has brought. */
const nativeDevices = (ort: Ort & NativeListing): Device[] =>
  ort
    .listSupportedBackends()
    .filter(({ name, bundled }) => bundled || existsSync(providerLibrary(name)))
    .map(({ name }) => name as Device);

function providerLibrary(name: string): string {
  const root = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  const file =
    process.platform === 'win32' ? `onnxruntime_providers_${name}.dll` : `libonnxruntime_providers_${name}.so`;
  return join(root, 'bin', 'napi-v6', process.platform, process.arch, file);
}

export const platform: Platform = {
  runtimes: ['node', 'web'],
  load,
  map: mapWeights,
  ...(isMainThread && { startWorker: workerExecutor }),
};
