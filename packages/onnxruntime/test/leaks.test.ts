import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { type OnnxRuntimeOptions, onnxruntime } from '../src/index.js';
import { marathon } from './fixtures/descent.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const forms: Record<string, OnnxRuntimeOptions> = {
  'in this thread': { threads: 1 },
  'in a worker': { worker: true, threads: 1 },
  'on WebAssembly': { runtime: 'web', threads: 1 },
};

it.each(Object.entries(forms))(
  'memory stands still over a thousand steps %s',
  { timeout: 120_000 },
  async (_, options) => {
    const backend = onnxruntime(options);
    const { losses, grown } = await marathon(backend, collect);
    await backend.dispose();
    console.info(`grown by ${grown.toFixed(1)} MB; the loss fell from ${losses[0]} to ${losses[1]}`);
    expect(losses[1]).toBeLessThan(losses[0]);
    // One tensor of the state, or one feed, lost at every step would be 200 MB; the rest is the collector's own pace.
    expect(grown).toBeLessThan(50);
  },
);
