import type { ErrorCode, Feeds, Tensor } from '@peftjs/core';
import type { Device, RuntimeKind } from '../options.js';
import type { SessionSpec } from '../session.js';

/** What the worker is asked; `session` is the number that `open` answered with. */
export type Request =
  | { readonly method: 'devices'; readonly runtime: RuntimeKind; readonly device: Device }
  | { readonly method: 'open'; readonly spec: SessionSpec }
  | { readonly method: 'run'; readonly session: number; readonly feeds: Feeds }
  | { readonly method: 'read'; readonly session: number; readonly name: string }
  | { readonly method: 'write'; readonly session: number; readonly name: string; readonly tensor: Tensor }
  | { readonly method: 'close'; readonly session: number }
  /** Closes every session when its runs are over, and ends the thread. */
  | { readonly method: 'end' };

export interface Call {
  readonly id: number;
  readonly request: Request;
}

export interface Fault {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Record<string, unknown>;
}

export type Reply = { readonly id: number } & ({ readonly result: unknown } | { readonly fault: Fault });

/** The memory of tensors that nobody else uses, to be moved to the other thread instead of copied. */
export const memoryOf = (tensors: Iterable<Tensor>): ArrayBuffer[] => [
  ...new Set([...tensors].map(({ data }) => data.buffer as ArrayBuffer)),
];
