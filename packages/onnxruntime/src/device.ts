import { createGraph, createOps, encodeModel, isPeftError, PeftError } from '@peftjs/core';
import { platform } from '#platform';
import type { Device, OnnxRuntimeOptions, RuntimeKind } from './options.js';
import type { Executor } from './session.js';
import { sessionOptions } from './session-options.js';

export interface Choice {
  readonly runtime: RuntimeKind;
  readonly device: Device;
  /** What the installation offers. */
  readonly devices: readonly Device[];
}

/** `webgpu` (experimental in Node) and `coreml` (fixed shapes) are taken only when asked for. */
const automatic: readonly Device[] = ['cuda', 'dml', 'cpu', 'wasm'];

/** What a device needs beside the runtime. */
const remedies: Partial<Record<Device | 'auto', string>> = {
  cuda: "It needs an NVIDIA driver, CUDA 12, cuDNN 9 and the runtime's own files for it: ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node",
  webgpu:
    'It needs a driver of the graphics card: Vulkan on Linux (libvulkan.so.1 and the driver beside it), Direct3D 12 on Windows, Metal on macOS; in a page, a browser that has WebGPU, over https or on localhost',
  dml: 'It is DirectML, on Windows',
  coreml: 'It is Core ML, on macOS',
};

/**
 * Settles on a runtime and a device that really work here.
 * @throws PeftError BACKEND_UNAVAILABLE with the install line, or with the devices that there are
 */
export async function choose(executor: Executor, options: OnnxRuntimeOptions): Promise<Choice> {
  const { device = 'cpu' } = options;
  const { runtime, devices } = await installed(executor, options);
  // The web runtime's processor is called wasm.
  const wanted = runtime === 'web' && device === 'cpu' ? 'wasm' : device;
  const candidates = wanted === 'auto' ? automatic.filter((each) => devices.includes(each)) : [wanted];
  const broken: Device[] = [];
  let cause: unknown;
  for (const each of candidates) {
    if (!devices.includes(each)) break;
    try {
      await probe(executor, options, runtime, each);
      return { runtime, device: each, devices };
    } catch (error) {
      broken.push(each);
      cause = error;
    }
  }
  const others = devices.filter((each) => !broken.includes(each));
  const reason = cause ? ` (${(cause as Error).message.trim()})` : '';
  const remedy = wanted in remedies ? ` ${remedies[wanted]}.` : '';
  throw new PeftError(
    'BACKEND_UNAVAILABLE',
    `The device "${wanted}" is not available in onnxruntime-${runtime}${reason}.${remedy} Here there are: ${others.join(', ')}.`,
    { cause, details: { device: wanted, devices: others } },
  );
}

async function installed(executor: Executor, { runtime, device = 'cpu' }: OnnxRuntimeOptions) {
  const order = runtime ? [runtime] : device === 'wasm' ? (['web'] as const) : platform.runtimes;
  const failures: PeftError[] = [];
  for (const kind of order) {
    try {
      return { runtime: kind, devices: await executor.devices(kind, device) };
    } catch (error) {
      if (!isPeftError(error) || error.code !== 'BACKEND_UNAVAILABLE') throw error;
      failures.push(error);
    }
  }
  throw new PeftError('BACKEND_UNAVAILABLE', failures.map(({ message }) => message).join('\n'), { cause: failures[0] });
}

/** Opens a session of one node: a provider says only then whether its libraries and its device are there. */
async function probe(
  executor: Executor,
  options: OnnxRuntimeOptions,
  runtime: RuntimeKind,
  device: Device,
): Promise<void> {
  if (device === 'cpu') return;
  const graph = createGraph('probe');
  const ops = createOps(graph);
  ops.output(ops.neg(ops.input('x', 'f32', ['n'])), 'y');
  const session = await executor.open({
    runtime,
    device,
    name: graph.name,
    model: await encodeModel(graph),
    options: sessionOptions(options, runtime, device, 'train', { external: new Map() }),
    feeds: ['x'],
    outputs: ['y'],
    carry: {},
    resident: [],
  });
  await session.dispose();
}
