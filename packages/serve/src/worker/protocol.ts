import type { ErrorCode, Example } from '@peftjs/core';
import type { Ran, Step } from '../engine/step.js';
import type { EngineTask } from '../engine/types.js';

/** How the worker makes its backend: a package, the function it exports for that, and what this is given. */
export interface BackendChoice {
  readonly module: string;
  readonly factory: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** What the worker is started with. */
export interface WorkerSetup {
  readonly directory: string;
  readonly task: EngineTask;
  readonly backend: BackendChoice;
  /** Slots for adapters; slot 0, the bare base, comes on top. */
  readonly adapters: number;
  readonly rank: number;
}

/** An adapter as a slot holds it: numbers by module path. All float32, row-major. */
export interface SlotContent {
  /** Factors padded to the rank of the slots, the scale inside: `a` [in, rank], `b` [rank, out]. */
  readonly factors: readonly { readonly path: string; readonly a: Float32Array; readonly b: Float32Array }[];
  /** Linear maps saved in full (a classification head): `weight` [out, in], `bias` [out]. */
  readonly heads: readonly HeadContent[];
}

export interface HeadContent {
  readonly path: string;
  readonly out: number;
  readonly weight: Float32Array;
  readonly bias?: Float32Array;
}

/** Requests by type, each with its answer. Everything can be cloned between threads. */
export interface Calls {
  /** Changes which modules have slots. What lies in slots stays; a layout only ever grows. */
  layout: { ask: Layout; answer: undefined };
  load: { ask: { slot: number; content: SlotContent }; answer: undefined };
  step: { ask: Step; answer: readonly Ran[] };
  read: { ask: { rows: readonly ReadRow[] }; answer: readonly Float32Array[] };
  close: { ask: undefined; answer: undefined };
}

/** What the compiled graph depends on. */
export interface Layout {
  /** Paths of targets with slots. */
  readonly targets: readonly string[];
  /** Paths of heads that differ by adapter, with the most outputs any of them has. */
  readonly heads: readonly { readonly path: string; readonly out: number }[];
}

export interface ReadRow {
  /** A text as the model's task encodes it: plain data. */
  readonly example: Example;
  readonly slot: number;
}

export type CallName = keyof Calls;
export type Ask<N extends CallName> = Calls[N]['ask'];
export type Answer<N extends CallName> = Calls[N]['answer'];

export interface CallMessage {
  readonly id: number;
  readonly name: CallName;
  readonly ask: unknown;
}

/** An error's facts: the class does not survive the way between threads. */
export interface SentError {
  readonly message: string;
  readonly stack?: string;
  readonly code?: ErrorCode;
  readonly details?: Record<string, unknown>;
}

/** Id 0 reports the start: everything is loaded, or it failed. */
export type AnswerMessage =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: SentError };
