import type { Adapter, Run } from '@peftjs/core';
import type { BatchInfo } from './scheduler.js';

/** What the served base is asked to do: continue texts, embed them, or classify them. */
export type EngineTask = 'generate' | 'embed' | 'classify';

/** What is known of a registered adapter. */
export interface AdapterInfo {
  readonly name: string;
  /** Digest of its content: its identity. */
  readonly digest: string;
  readonly method?: string;
  /** Largest rank among its targets. */
  readonly rank: number;
  /** `host`: in memory; `resident`: in a slot, too; `draining`: removed or replaced, still serving what had begun. */
  readonly state: 'host' | 'resident' | 'draining';
  /** Counts the contents this name has had, from 1. */
  readonly generation: number;
  readonly bytes: number;
  /** Seconds since 1970. */
  readonly created: number;
  readonly labels?: readonly string[];
}

export interface Adapters {
  /**
   * Registers an adapter, or a new content under a known name; what runs already keeps the old content.
   * @param generation refuses unless the name's present generation is this one (0: the name is new)
   * @throws PeftError ADAPTER_MISMATCH (other base, rank too large, a kind that no slot holds), ADAPTER_INVALID,
   * CONFIG_INVALID for a name that cannot be used
   */
  put(name: string, source: string | Adapter, options?: { generation?: number }): Promise<AdapterInfo>;
  /** @throws PeftError ADAPTER_UNKNOWN */
  remove(name: string): Promise<void>;
  list(): readonly AdapterInfo[];
}

export interface Message {
  readonly role: string;
  readonly content: string;
}

export interface GenerateOptions {
  /** Name of a registered adapter; absent: the bare base. */
  readonly adapter?: string;
  /** Exactly one of the three. `prompt` gets the tokenizer's own start token, `messages` go through the chat template. */
  readonly tokens?: readonly number[];
  readonly prompt?: string;
  readonly messages?: readonly Message[];
  /** New tokens at most; default: as many as fit. */
  readonly maxTokens?: number;
  /** 0, the default, always takes the most likely token. */
  readonly temperature?: number;
  readonly topP?: number;
  /** Generation ends before the first of these. */
  readonly stop?: readonly string[];
  /** Same seed, same text, whatever else is in the batch. Default 0. */
  readonly seed?: number;
  /** Goes on past the end token: for measuring. */
  readonly ignoreEnd?: boolean;
  readonly signal?: AbortSignal;
}

export interface TokenEvent {
  readonly type: 'token';
  readonly token: number;
  /** What may be shown now; empty while a character or a possible stop string is incomplete. */
  readonly text: string;
  readonly batch: BatchInfo;
}

export interface Generation {
  readonly tokens: readonly number[];
  readonly text: string;
  readonly finish: 'stop' | 'length';
  readonly promptTokens: number;
  /** The widest batch that served it. */
  readonly batch: BatchInfo;
  /** Digest of the adapter that answered. */
  readonly digest?: string;
  /** Seconds in the line, to the first token, and in all. */
  readonly seconds: { readonly queue: number; readonly first: number; readonly total: number };
}

export interface ReadOptions {
  readonly adapter?: string;
  readonly signal?: AbortSignal;
}

/** A text, or its token ids. */
export type Input = string | readonly number[];

export interface Embeddings {
  readonly vectors: readonly Float32Array[];
  readonly promptTokens: number;
  readonly batch: BatchInfo;
  readonly digest?: string;
}

export interface Classifications {
  /** For each text the probability of every label, and the label with the largest. */
  readonly results: readonly { readonly label: string; readonly scores: Readonly<Record<string, number>> }[];
  readonly promptTokens: number;
  readonly batch: BatchInfo;
  readonly digest?: string;
}

/** What happens inside, for metrics. Seconds throughout. */
export type EngineEvent =
  | { readonly type: 'run'; readonly phase: 'prefill' | 'decode' | 'read'; readonly batch: BatchInfo }
  | { readonly type: 'started'; readonly queue: number }
  | { readonly type: 'first'; readonly seconds: number }
  | { readonly type: 'token'; readonly seconds: number }
  | { readonly type: 'finished'; readonly seconds: number; readonly promptTokens: number; readonly newTokens: number }
  | { readonly type: 'loaded'; readonly seconds: number; readonly evicted: boolean };

export interface EngineState {
  readonly ready: boolean;
  readonly waiting: number;
  readonly running: number;
  /** Digest by slot number, for slots in use. */
  readonly slots: readonly { readonly slot: number; readonly digest: string; readonly references: number }[];
}

export interface Engine {
  /** Name of the base. */
  readonly name: string;
  readonly task: EngineTask;
  /** Seconds since 1970. */
  readonly created: number;
  /** Tokens of prompt and answer together, at most. */
  readonly maxTokens: number;
  readonly adapters: Adapters;
  /**
   * @throws PeftError ADAPTER_UNKNOWN, INPUT_TOO_LONG, SERVER_BUSY, SERVER_CLOSED, MODEL_UNSUPPORTED where the base
   * does not generate; CANCELLED through `signal`
   */
  generate(options: GenerateOptions): Run<TokenEvent, Generation>;
  embed(inputs: readonly Input[], options?: ReadOptions): Promise<Embeddings>;
  classify(inputs: readonly Input[], options?: ReadOptions): Promise<Classifications>;
  state(): EngineState;
  /** Returns the function that ends the subscription. */
  subscribe(listener: (event: EngineEvent) => void): () => void;
  /** Takes nothing new and waits for what runs. */
  drain(): Promise<void>;
  /** Ends everything, the worker too. */
  dispose(): Promise<void>;
}
