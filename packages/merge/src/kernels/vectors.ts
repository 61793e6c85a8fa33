import { binary } from './binary.js';
import { type Memory, wasm } from './wasm.js';

/** What simd/kernels.ts exports: addresses in the scratch memory, parameters, and how many numbers. */
export interface VectorKernels {
  widenBf16(out: number, halves: number, n: number): void;
  narrowBf16(out: number, values: number, n: number): void;
  reaches(values: number, limit: number, n: number): number;
  subtract(out: number, a: number, b: number, n: number): void;
  scale(x: number, w: number, n: number): void;
  addScaled(sum: number, x: number, w: number, n: number): void;
  weightedSum(out: number, table: number, arrays: number, n: number): void;
  keepFrom(values: number, bits: number, equal: number, n: number): void;
  findBits(indices: number, values: number, mask: number, bits: number, n: number): number;
  toSigns(x: number, undecided: number, n: number): void;
  addAgreeing(
    sum: number,
    shares: number,
    x: number,
    signs: number,
    w: number,
    share: number,
    turned: number,
    n: number,
  ): void;
  divide(sum: number, shares: number, least: number, n: number): void;
  sum(x: number, n: number): number;
  norm1(x: number, n: number): number;
  dot(a: number, b: number, n: number): number;
  dropAtRandom(
    values: number,
    scratch: number,
    b0: number,
    b1: number,
    r0: number,
    r1: number,
    sure: number,
    border: number,
    offset: number,
    n: number,
  ): void;
}

/** Asked once: undefined where vectors are not known, or WebAssembly is not allowed. */
let found: { readonly kernels: VectorKernels | undefined } | undefined;

function instantiate(memory: Memory): VectorKernels | undefined {
  const bytes = Uint8Array.from(atob(binary), (letter) => letter.charCodeAt(0));
  let module: object;
  try {
    module = new wasm!.Module(bytes);
  } catch {
    return undefined;
  }
  return new wasm!.Instance(module, { env: { memory } }).exports as unknown as VectorKernels;
}

export function vectorKernels(memory: Memory): VectorKernels | undefined {
  found ??= { kernels: instantiate(memory) };
  return found.kernels;
}
