import type { Feeds, Tensor } from '@peftjs/core';
import type { Device, RuntimeKind } from './options.js';
import type { OrtOptions } from './ort.js';

/** All that is needed to open a session, as plain data that crosses threads. */
export interface SessionSpec {
  readonly runtime: RuntimeKind;
  readonly device: Device;
  /** What messages call the graph. */
  readonly name: string;
  readonly model: Uint8Array;
  readonly options: OrtOptions;
  /** Inputs that are fed at every run. */
  readonly feeds: readonly string[];
  /** Outputs that a run returns. */
  readonly outputs: readonly string[];
  /** Output -> input of the next run. */
  readonly carry: Readonly<Record<string, string>>;
  /** Carried outputs that stay on the device. */
  readonly resident: readonly string[];
}

/** A session with its carried state. */
export interface Session {
  run(feeds: Feeds): Promise<Record<string, Tensor>>;
  read(name: string): Promise<Tensor>;
  write(name: string, tensor: Tensor): Promise<void>;
  dispose(): Promise<void>;
}

/** Where sessions live: this thread or another. */
export interface Executor {
  /** Devices that the installed runtime says it has. */
  devices(runtime: RuntimeKind, device: Device): Promise<readonly Device[]>;
  open(spec: SessionSpec): Promise<Session>;
  dispose(): Promise<void>;
}
