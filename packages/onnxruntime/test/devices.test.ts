import { createGraph, createOps, f32, isPeftError } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { afterEach, describe, expect, it, vi } from 'vitest';

afterEach(() => {
  vi.doUnmock('onnxruntime-node');
  vi.doUnmock('onnxruntime-web');
  vi.resetModules();
});

/** The package as it is where some runtimes are not installed. */
async function without(...missing: string[]) {
  vi.resetModules();
  for (const name of missing)
    vi.doMock(name, () => {
      throw Object.assign(new Error(`Cannot find package '${name}'`), { code: 'ERR_MODULE_NOT_FOUND' });
    });
  return (await import('../src/index.js')).onnxruntime;
}

function doubled() {
  const graph = createGraph('doubled');
  const ops = createOps(graph);
  ops.output(ops.mul(ops.input('x', 'f32', ['batch']), 2), 'y');
  return graph;
}

describe('runtimes', () => {
  it('falls back to WebAssembly, and says so', async () => {
    const backend = (await without('onnxruntime-node'))();
    const program = await backend.compile(doubled());
    expect((await program.run({ x: f32([2], [1, 2]) })).y!.data).toEqual(Float32Array.of(2, 4));
    expect(backend.device).toBe('wasm');
    expect((await backend.capabilities()).weights).toBe('copied');
  });

  it('gives the install lines when nothing is installed', async () => {
    const backend = (await without('onnxruntime-node', 'onnxruntime-web'))();
    await expectPeftError(
      () => backend.compile(doubled()),
      ['BACKEND_UNAVAILABLE'],
      ['npm install onnxruntime-node', 'npm install onnxruntime-web'],
    );
  });

  it('says why a native library cannot be loaded, and what brings it', async () => {
    vi.resetModules();
    vi.doMock('onnxruntime-node', () => {
      throw Object.assign(new Error('libonnxruntime.so.1: cannot open shared object file'), {
        code: 'ERR_DLOPEN_FAILED',
      });
    });
    const { onnxruntime } = await import('../src/index.js');
    await expectPeftError(
      () => onnxruntime({ runtime: 'node' }).compile(doubled()),
      ['BACKEND_UNAVAILABLE'],
      ['npm install onnxruntime-node'],
    );
  });

  it('does not fall back from a runtime that was asked for', async () => {
    const backend = (await without('onnxruntime-node'))({ runtime: 'node' });
    await expectPeftError(() => backend.compile(doubled()), ['BACKEND_UNAVAILABLE'], ['npm install onnxruntime-node']);
  });
});

describe('devices', () => {
  it('names the devices that there are when one is missing', async () => {
    const onnxruntime = await without();
    const { devices } = await onnxruntime().capabilities();
    expect(devices).toContain('cpu');
    for (const device of (['cuda', 'dml', 'coreml'] as const).filter((each) => !devices.includes(each)))
      await expectPeftError(() => onnxruntime({ device }).compile(doubled()), ['BACKEND_UNAVAILABLE'], [device, 'cpu']);
  });

  it('probes a device: it is there, or it is refused with the reason', async () => {
    const backend = (await without())({ device: 'webgpu' });
    try {
      const program = await backend.compile(doubled());
      expect((await program.run({ x: f32([2], [1, 2]) })).y!.data).toEqual(Float32Array.of(2, 4));
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('BACKEND_UNAVAILABLE');
      expect((error as Error).message).toMatch(/driver of the graphics card.*Here there are: cpu/s);
      expect((error as Error).message).not.toMatch(/Here there are:.*webgpu/);
    }
  });

  it('auto takes one that works', async () => {
    const backend = (await without())({ device: 'auto' });
    expect(backend.device).toBe('auto');
    await backend.capabilities();
    expect(['cuda', 'dml', 'cpu']).toContain(backend.device);
  });

  it('refuses options that contradict each other', async () => {
    const onnxruntime = await without();
    await expectPeftError(async () => onnxruntime({ device: 'wasm', runtime: 'node' }), ['CONFIG_INVALID'], ['wasm']);
    await expectPeftError(async () => onnxruntime({ threads: 0 }), ['CONFIG_INVALID'], ['threads']);
  });
});
