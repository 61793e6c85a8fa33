import { createTurns, PeftError, type Tensor } from '@peftjs/core';
import { platform } from '#platform';
import { runtimeError } from './errors.js';
import type { Device, RuntimeKind } from './options.js';
import type { Ort, OrtTensor } from './ort.js';
import { createReader, free } from './resident.js';
import type { Executor, Session, SessionSpec } from './session.js';
import { copyOf, fromOrt, toOrt } from './tensors.js';

/** Sessions in this thread. */
export function localExecutor(): Executor {
  const open = new Set<Session>();
  return {
    devices: async (runtime: RuntimeKind, device: Device) => (await platform.load(runtime, device)).devices,
    async open(spec) {
      const { ort } = await platform.load(spec.runtime, spec.device);
      // The web runtime has one pool of threads for all its sessions, made with the first of them.
      const { intraOpNumThreads } = spec.options;
      if (spec.runtime === 'web' && intraOpNumThreads) ort.env.wasm.numThreads = intraOpNumThreads;
      const session = await openSession(ort, spec, () => open.delete(session));
      open.add(session);
      return session;
    },
    async dispose() {
      await Promise.all([...open].map((session) => session.dispose()));
    },
  };
}

async function openSession(ort: Ort, spec: SessionSpec, closed: () => void): Promise<Session> {
  const { name, feeds, outputs, carry, resident } = spec;
  const options = {
    ...spec.options,
    ...(resident.length > 0 && {
      preferredOutputLocation: Object.fromEntries(resident.map((output) => [output, 'gpu-buffer' as const])),
    }),
  };
  const session = await ort.InferenceSession.create(spec.model, options).catch((error: unknown) => {
    throw runtimeError(error, `refused the graph "${name}"`);
  });
  const fetches = [...new Set([...outputs, ...Object.keys(carry)])];
  const carried = Object.values(carry);
  const wanted = new Set(session.inputNames);
  const state = new Map<string, OrtTensor>();
  const reader = createReader(ort, spec.options);
  const turns = createTurns(name);

  function stateOf(input: string): OrtTensor {
    const tensor = state.get(input);
    if (tensor) return tensor;
    const missing = carried.filter((each) => !state.has(each));
    throw new PeftError('CONFIG_INVALID', `Carried inputs of "${name}" must be written first: ${missing.join(', ')}.`);
  }

  function put(input: string, tensor: OrtTensor): void {
    free(state.get(input));
    state.set(input, tensor);
  }

  async function read(input: string): Promise<Tensor> {
    const held = stateOf(input);
    return copyOf(fromOrt(held.location === 'gpu-buffer' ? await reader.read(held) : held));
  }

  async function run(given: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    const fed: Record<string, OrtTensor> = {};
    for (const input of carried) {
      const held = stateOf(input);
      if (wanted.has(input)) fed[input] = held; // onnxruntime-web refuses what the model does not read
    }
    for (const input of feeds) fed[input] = toOrt(ort, given[input]!);
    const results = await session.run(fed, fetches).catch((error: unknown) => {
      throw runtimeError(error, `could not run "${name}"`);
    });
    for (const [output, input] of Object.entries(carry)) put(input, results[output]!);
    // What is carried on as well is copied, so that nobody can change the state through what was returned.
    const returned = outputs.map((output) => {
      const tensor = fromOrt(results[output]!);
      return [output, output in carry ? copyOf(tensor) : tensor] as const;
    });
    return Object.fromEntries(returned);
  }

  return {
    run: (given) => turns.take(() => run(given)),
    read: (input) => turns.take(() => read(input)),
    write: (input, tensor) => turns.take(() => put(input, toOrt(ort, copyOf(tensor)))),
    dispose: () =>
      turns.close(async () => {
        for (const tensor of state.values()) free(tensor);
        state.clear();
        closed();
        await reader.dispose();
        await session.release();
      }),
  };
}
