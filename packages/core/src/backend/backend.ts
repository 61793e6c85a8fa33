import type { Graph } from '../graph/graph.js';
import type { DType, Tensor } from '../tensor/tensor.js';

export type Feeds = Readonly<Record<string, Tensor>>;

/** What a backend can do, as data that is asked before anything runs. */
export interface Capabilities {
  readonly dtypes: readonly DType[];
  /** ONNX operation names, or 'all' for a runtime that decides by itself. */
  readonly operations: readonly string[] | 'all';
  readonly devices: readonly string[];
  /** `mapped`: weights stay in the user's file; `copied`: every program holds its own. */
  readonly weights: 'mapped' | 'copied';
}

export interface CompileOptions {
  /** Names of the outputs a run returns. Default: all outputs of the graph that are not carried. */
  readonly outputs?: readonly string[];
  /** Output name -> input name of the next run: state that stays with the program (parameters, optimizer moments). */
  readonly carry?: Readonly<Record<string, string>>;
  /** `train` (the default): no weight is repacked, gradients are bit-stable; `serve`: packed for speed. */
  readonly purpose?: 'train' | 'serve';
  readonly signal?: AbortSignal;
}

/** A compiled graph with its state; serves every batch size and length. */
export interface Program {
  /** Runs once. Carried inputs are fed by the program, everything else must be in `feeds`. */
  run(feeds: Feeds, options?: { signal?: AbortSignal }): Promise<Record<string, Tensor>>;
  /** The present value of a carried input. */
  read(name: string): Promise<Tensor>;
  /** Sets a carried input; all of them must be written before the first run. */
  write(name: string, tensor: Tensor): Promise<void>;
  dispose(): Promise<void>;
}

export interface Backend {
  readonly spec: 'v1';
  readonly name: string;
  readonly device: string;
  capabilities(): Promise<Capabilities>;
  /** @throws PeftError BACKEND_UNAVAILABLE, BACKEND_UNSUPPORTED, GRAPH_INVALID */
  compile(graph: Graph, options?: CompileOptions): Promise<Program>;
  dispose(): Promise<void>;
}
