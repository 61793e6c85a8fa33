import { cast, type DType, type TensorRef } from '@peftjs/core';
import { fromConstant, type Held, onDevice, release } from './held.js';
import { onBackend } from './scope.js';

/** Frozen weights on the device, one copy for all programs of a backend that are open. */
export interface Weights {
  /** What was taken must be given back. */
  take(name: string, ref: TensorRef, dtype: DType, signal?: AbortSignal): Promise<Held>;
  giveBack(ref: TensorRef, dtype: DType): void;
}

interface Entry {
  readonly held: Promise<Held>;
  users: number;
}

export function createWeights(backend: string): Weights {
  const entries = new Map<TensorRef, Map<DType, Entry>>();

  async function upload(name: string, ref: TensorRef, dtype: DType, signal?: AbortSignal): Promise<Held> {
    const held = fromConstant(name, cast(await ref.read({ signal }), dtype));
    if (dtype === 'i64') return held; // shapes and positions: the device gets them when it needs them
    onBackend(backend, () => onDevice(held));
    delete held.data; // on the device it is enough
    return held;
  }

  function giveBack(ref: TensorRef, dtype: DType): void {
    const ofRef = entries.get(ref);
    const entry = ofRef?.get(dtype);
    if (!ofRef || !entry || --entry.users > 0) return;
    ofRef.delete(dtype);
    if (ofRef.size === 0) entries.delete(ref);
    entry.held.then(release, () => {});
  }

  return {
    async take(name, ref, dtype, signal) {
      const ofRef = entries.get(ref) ?? new Map<DType, Entry>();
      entries.set(ref, ofRef);
      const entry = ofRef.get(dtype) ?? { held: upload(name, ref, dtype, signal), users: 0 };
      ofRef.set(dtype, entry);
      entry.users++;
      return entry.held.catch((error: unknown) => {
        giveBack(ref, dtype);
        throw error;
      });
    },
    giveBack,
  };
}
