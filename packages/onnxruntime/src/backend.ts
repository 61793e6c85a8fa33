import { type Backend, checkedProgram, encodeModel, PeftError, requireMemory, select } from '@peftjs/core';
import { platform } from '#platform';
import { copyWeights } from './copy-weights.js';
import { type Choice, choose } from './device.js';
import { withNodes } from './errors.js';
import { localExecutor } from './local.js';
import { memoryOn, weightBytes } from './memory.js';
import { checkOptions, type OnnxRuntimeOptions } from './options.js';
import { residentOutputs } from './resident.js';
import { sessionOptions } from './session-options.js';
import { checkDTypes, dtypesOf } from './tensors.js';

/**
 * ONNX Runtime as a backend: onnxruntime-node, or onnxruntime-web where that is not installed. In Node weights are
 * mapped from the user's own files into every session. The runtime is loaded at the first use.
 */
export function onnxruntime(options: OnnxRuntimeOptions = {}): Backend {
  checkOptions(options);
  const executor = options.worker && platform.startWorker ? platform.startWorker() : localExecutor();
  let choice: Promise<Choice> | undefined;
  let device: string = options.device ?? 'cpu';

  async function chosen(): Promise<Choice> {
    choice ??= choose(executor, options);
    const settled = await choice.catch((error: unknown) => {
      choice = undefined; // what is missing can be installed or plugged in
      throw error;
    });
    device = settled.device;
    return settled;
  }

  return {
    spec: 'v1',
    name: 'onnxruntime',
    get device() {
      return device;
    },
    async capabilities() {
      const { runtime, device, devices } = await chosen();
      const weights = runtime === 'node' && platform.map ? 'mapped' : 'copied';
      return { dtypes: dtypesOf(runtime, device), operations: 'all', devices, weights };
    },
    async compile(graph, compileOptions = {}) {
      const { signal, purpose } = compileOptions;
      const selection = select(graph, compileOptions);
      const { runtime, device } = await chosen();
      checkDTypes(selection, runtime, device);
      const place = runtime === 'node' && platform.map;
      const copied = place ? 0 : weightBytes(selection.graph);
      requireMemory(`The weights of "${graph.name}"`, copied, memoryOn(device));
      const placement = await (place
        ? place(selection.graph, { cacheDir: options.cacheDir, signal })
        : copyWeights(selection.graph, signal));
      const model = await encodeModel(selection.graph, { externalData: (name) => placement.external.get(name) });
      throwIfAborted(signal);
      const spec = {
        runtime,
        device,
        name: graph.name,
        model,
        options: sessionOptions(options, runtime, device, purpose, placement),
        feeds: [...selection.feeds.keys()],
        outputs: selection.outputs,
        carry: selection.carry,
        resident: residentOutputs(selection, device),
      };
      const session = await executor.open(spec).catch((error: unknown) => {
        throw withNodes(error, selection.graph);
      });
      return checkedProgram(selection, session, memoryOn(device, copied));
    },
    dispose: () => executor.dispose(),
  };
}

function throwIfAborted(signal?: AbortSignal): void {
  if (signal?.aborted) throw new PeftError('CANCELLED', 'The run was cancelled.', { cause: signal.reason });
}
