import { type Memory, wasm } from './wasm.js';

/**
 * Memory for what is made of one tile on its way: used again for the next one, and the memory of the vector kernels. Where
 * there is none, where it is full, and outside a tile arrays are ordinary ones.
 */

/** Fixed, so that arrays in it stay valid: eleven models and their task vectors of one tile. */
const pages = 32;
/** All of it, in bytes. */
export const scratchBytes = pages * 2 ** 16;

/** The first bytes belong to the kernels themselves: tables and random words. */
export const reserved = 2 ** 12;

const create = (): Memory | undefined => wasm && new wasm.Memory({ initial: pages, maximum: pages });

/** Made when it is first needed. */
let memory: Memory | undefined;
/** Where the next array goes; undefined outside a tile. */
let next: number | undefined;

/** The memory of this thread. */
export const scratchMemory = (): Memory | undefined => (memory ??= create());

/** Arrays that `use` and all it calls take from `floats` and `halves` are gone when it returns. */
export function inTile(use: () => void): void {
  next = scratchMemory() && reserved;
  try {
    use();
  } finally {
    next = undefined;
  }
}

/** Where so many bytes are free. */
function take(bytes: number): number | undefined {
  if (next === undefined || next + bytes > scratchBytes) return undefined;
  const at = next;
  next += Math.ceil(bytes / 16) * 16;
  return at;
}

/** Arrays of one kind at their places: made once, as tiles take the same ones in the same order. */
function arrays<A extends Float32Array | Uint16Array | Uint32Array>(Kind: {
  readonly BYTES_PER_ELEMENT: number;
  new (length: number): A;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): A;
}): (length: number) => A {
  const made = new Map<number, A>();
  return (length) => {
    const at = take(Kind.BYTES_PER_ELEMENT * length);
    if (at === undefined) return new Kind(length);
    const found = made.get(at);
    if (found?.length === length) return found;
    const array = new Kind(memory!.buffer, at, length);
    made.set(at, array);
    return array;
  };
}

/** Numbers, whatever they are. */
export const floats = /* @__PURE__ */ arrays<Float32Array>(Float32Array);

/** Bits of 16-bit floats, whatever they are. */
export const halves = /* @__PURE__ */ arrays<Uint16Array>(Uint16Array);

/** 32-bit words, whatever they are. */
export const words = /* @__PURE__ */ arrays<Uint32Array>(Uint32Array);

export const zeros = (length: number): Float32Array => floats(length).fill(0);
