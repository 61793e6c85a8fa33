/** Of WebAssembly what the kernels need; not every program that takes this package has types for it. */
export interface Memory {
  readonly buffer: ArrayBuffer;
}

interface Wasm {
  readonly Memory: new (limits: { readonly initial: number; readonly maximum: number }) => Memory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
}

export const wasm: Wasm | undefined = (globalThis as { WebAssembly?: unknown }).WebAssembly as Wasm | undefined;
