import type { Graph } from '@peftjs/core';
import type { Device, RuntimeKind } from '../options.js';
import type { Ort } from '../ort.js';
import type { Executor } from '../session.js';

export interface LoadedRuntime {
  readonly kind: RuntimeKind;
  readonly ort: Ort;
  /** Devices that this installation says it has. */
  readonly devices: readonly Device[];
}

/** Where each weight of a graph will be found by the runtime. */
export interface Placement {
  /** The weights by name that stay outside the model's bytes. */
  readonly external: ReadonlyMap<string, { location: string; offset: number; length: number }>;
  /** The folder that the locations are relative to: its files are mapped into memory. */
  readonly folder?: string;
  /** The files themselves by location, where nothing can be mapped. */
  readonly files?: readonly { path: string; data: Uint8Array }[];
}

/** What differs between Node and a page. */
export interface Platform {
  /** In order of preference. */
  readonly runtimes: readonly RuntimeKind[];
  /** @throws PeftError BACKEND_UNAVAILABLE with the install line */
  load(kind: RuntimeKind, device: Device): Promise<LoadedRuntime>;
  /** Puts weights where onnxruntime-node can map them. Absent where there are no files. */
  readonly map?: (graph: Graph, options: { cacheDir?: string; signal?: AbortSignal }) => Promise<Placement>;
  /** An executor in another thread. Absent where the runtime has its own way. */
  readonly startWorker?: () => Executor;
}
