import type { Adapter } from '../delta/delta.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import type { Random } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import type { GraphSite, Initial, Params, SiteOf } from './site.js';
import type { Target } from './target.js';

/** Where an update stands in its run. Counts from 1. */
export interface Clock {
  readonly step: number;
  /** Updates of the run. */
  readonly total: number;
  /** Number of the phase, from 0. */
  readonly phase: number;
  readonly phaseStep: number;
  /** Updates of the phase. */
  readonly phaseTotal: number;
}

/** Tensors by graph name: `${target.path}:${letter}`, replaced parameters by their path. */
export type NamedTensors = ReadonlyMap<string, Tensor>;

/** A part of a run with a schedule of its own. */
export interface Phase {
  readonly name: string;
  /** Its part of the run's updates, in proportion to the other phases'. */
  readonly share: number;
  /**
   * The schedule of the phase before goes on, and with it the optimizer's moments. Default: both begin anew.
   * `warmup`: the part of the phase's updates over which the rate rises from zero back to that schedule.
   */
  readonly continues?: { readonly warmup: number };
}

/** The end of a phase. */
export interface PhaseEnd<C> {
  /** Number of the phase that begins, from 1. */
  readonly phase: number;
  /** The targets of the phase that ends, with all their tensors. */
  readonly sites: readonly SiteOf<Tensor, C>[];
  /** All targets of the run. */
  readonly targets: readonly { readonly target: Target; readonly c: C }[];
  /** Parameters and rows of embeddings (`${path}:tokens`) trained in full, as they are now. */
  readonly replaced: NamedTensors;
  /** The same as the run began. */
  readonly begun: NamedTensors;
  /** What the last `next` kept; before that nothing. */
  readonly kept: NamedTensors;
  /** The optimizer's state, by the names of its tensors: `${target.path}:${letter}:m`. */
  readonly state: NamedTensors;
  readonly rng: Random;
  /** The configuration without patterns. */
  readonly c: C;
  /** A parameter of the base, as f32. */
  weight(path: string): Promise<Tensor>;
}

/** The start of the next phase. */
export interface PhaseStart {
  /** Tensors by target path; a target that is missing is not changed any more by what is trained. */
  readonly sites: ReadonlyMap<string, Initial>;
  readonly shared?: Initial;
  /** Parameters and rows trained in full that begin elsewhere than where they are. */
  readonly replaced?: NamedTensors;
  /** Given to the next `next`, and saved in checkpoints. */
  readonly kept?: NamedTensors;
  /** State of the optimizer that changes where a phase continues the one before. */
  readonly state?: NamedTensors;
}

/** What a step has left behind. */
export interface StepEnd<C> {
  readonly clock: Clock;
  readonly sites: readonly { readonly target: Target; readonly c: C }[];
  /** What `observe` named at this step, by `${target.path}:${letter}`; empty at steps it does not observe. */
  readonly observed: NamedTensors;
  readonly rng: Random;
  /** Trained and held tensors and the optimizer's state (`${target.path}:${letter}:m`), by name. */
  read(names: readonly string[]): Promise<NamedTensors>;
  /**
   * The loss of a batch of `rows` random training rows.
   * @param instead tensors in place of trained, held or `scalars` ones, by name
   * @param draw calls of one step with the same number see the same rows; other rows at every call when not given
   */
  loss(rows: number, instead?: NamedTensors, draw?: number): Promise<number>;
}

/** Changes between two updates. */
export interface StepEdit {
  /** New values of trained and held tensors and of the optimizer's state, by name; shapes stay. */
  readonly set?: NamedTensors;
  /** Ends the phase. */
  readonly stop?: boolean;
  /** What a user should hear of it. */
  readonly note?: string;
}

/** What moves during a run, for methods that do more than one kind of update. All optional. */
export interface Dynamics<C> {
  /**
   * Parts of a run, each with its own schedule unless it continues. With `next` each begins with new tensors and a new
   * optimizer state; without it the tensors go on and only the schedule begins again.
   * @param start the adapter to train on, where the run goes on from one
   */
  phases?(c: C, start?: Adapter): readonly Phase[];
  next?(end: PhaseEnd<C>): Promise<PhaseStart>;

  /**
   * Extra outputs: of every step, or of some. For those a second program takes the place of the first, which costs
   * compiling it: what is small and seen often belongs in every step. In an update of micro-batches
   * numbers add up, as gradients do; of what each chooses anew (an extent known only then) the last one's stand for all.
   */
  readonly observe?: {
    at?(clock: Clock, c: C): boolean;
    /** @param site.dW gradient of the loss at the module's (changed) weight, in its own layout */
    values(site: GraphSite<C> & { readonly W: ShapedValue; readonly dW: ShapedValue }, ops: Ops): Params<ShapedValue>;
  };
  onStep?(end: StepEnd<C>): Promise<StepEdit | undefined>;

  /** Paths of the targets that this update changes; the others keep tensors and optimizer state. */
  active?(step: {
    readonly clock: Clock;
    readonly sites: readonly { readonly target: Target; readonly c: C }[];
    readonly held: NamedTensors;
    readonly rng: Random;
  }): ReadonlySet<string>;

  /** Trained tensors that a graph never sees, but tensors made from them: chunk by chunk, before and after each step. */
  readonly stream?: {
    /** The tensors of the graph. */
    expand(site: SiteOf<Tensor, C>): Params<Tensor>;
    /** Gradients of the trained tensors from those of the graph's. */
    pullBack(site: SiteOf<Tensor, C> & { readonly d: Params<Tensor> }): Params<Tensor>;
  };

  /**
   * No gradient graph at all: the slope along a random direction z is (L(θ + εz) - L(θ - εz)) / 2ε, and its product with
   * z is what the optimizer takes for the gradient.
   */
  readonly forward?: {
    epsilon(c: C): number;
    /**
     * z for a trained tensor: a tensor of its own, which is overwritten.
     * @param rng the same at every call for this tensor and update
     */
    direction(site: SiteOf<Tensor, C> & { readonly name: string; readonly rng: Random }): Tensor;
  };
}
