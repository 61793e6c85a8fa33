import type { Adapter } from '../delta/delta.js';
import type { Graph, ShapedValue } from '../graph/graph.js';
import type { TensorRef } from '../tensor/tensor.js';

/** What an adapter may change. `weight` of a linear is (out, in), of a conv1d (in, out), of an embedding (rows, dim). */
export interface Target {
  readonly kind: 'linear' | 'conv1d' | 'embedding' | 'vector' | 'block';
  /** Module path in Hugging Face terms, e.g. `model.layers.0.self_attn.q_proj`. */
  readonly path: string;
  /**
   * Other paths of the module, in checkpoints and adapters that were made with other releases of its library, in the
   * same order at every target. Rules and adapters may use any of them.
   */
  readonly aliases?: readonly string[];
  readonly in: number;
  readonly out: number;
  /** The module's own parameters, by their name within the module (`weight`, `bias`). */
  readonly parameters: Readonly<Record<string, TensorRef>>;
  /** An output head: `all-linear` leaves it out. */
  readonly head?: boolean;
  /** Number of the transformer layer it is in, from 0: the targets of a layer are coupled through their roles. */
  readonly layer?: number;
  /**
   * What it does in its layer. Channels that one target gives and the next takes have the same numbers: those of query,
   * key and value (heads × headDim, head by head) enter `output`, those of `gate` and `up` enter `down`.
   * `query-key-value` gives all three, one after the other.
   */
  readonly role?: 'query' | 'key' | 'value' | 'query-key-value' | 'output' | 'gate' | 'up' | 'down' | 'other';
  /** Query heads of its attention. Given together with the next two for the roles of attention. */
  readonly heads?: number;
  /** Key and value heads: query head h attends to key head floor(h · kvHeads / heads). */
  readonly kvHeads?: number;
  /** Channels of one head. */
  readonly headDim?: number;
}

/** A target within one graph: the value that enters ([rows, in] or ids) and the one that leaves ([rows, out]). */
export interface Site {
  readonly target: Target;
  readonly x: ShapedValue;
  readonly y: ShapedValue;
}

/** A graph with named places: what an architecture builds and an adapter is attached to. */
export interface ModelGraph {
  readonly graph: Graph;
  readonly sites: ReadonlyMap<string, Site>;
  /** Named results, e.g. `logits` [rows, classes]. */
  readonly outputs: Readonly<Record<string, ShapedValue>>;
  /** The adapters that are in it. */
  readonly attached?: readonly Adapter[];
}
