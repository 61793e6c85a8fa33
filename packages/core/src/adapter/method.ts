import type * as z from 'zod';
import type { Adapter, Term } from '../delta/delta.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Random } from '../tensor/random.js';
import type { Tensor, TensorRef } from '../tensor/tensor.js';
import type { SharedConfig, SharedOptions } from './config.js';
import type { Clock, Dynamics } from './dynamics.js';
import type { GraphSite, Initial, ModuleSite, Params, SiteOf, WeightSite } from './site.js';
import type { Target } from './target.js';

/** How the optimizer treats a trainable tensor; everything not given is that of the run. */
export interface ParameterRule {
  readonly lr?: number; // factor on the run's rate
  readonly absoluteLr?: number; // replaces the run's rate (still scheduled)
  readonly weightDecay?: number;
  readonly optimizer?: Optimizer;
}

/** One tensor of one target as update rules see it. */
export interface ParameterInfo {
  readonly target: Target;
  readonly name: string; // the method's letter, e.g. 'a'
  readonly shape: readonly number[];
}

/** What `plan` may look at: weights, and what a few batches of the training data do in the base. */
export interface Look<C> {
  readonly sites: readonly { readonly target: Target; readonly c: C }[];
  readonly rng: Random;
  /** The adapter to train on, where the run goes on from one: what was settled for it holds on. */
  readonly start?: Adapter;
  /** A parameter of the base, as f32. */
  weight(path: string): Promise<Tensor>;
  /**
   * What enters each target, batch by batch: [rows, in] without padding, by target path. Targets that read the same value
   * get the same tensor.
   */
  activations(batches: number): AsyncIterable<ReadonlyMap<string, Tensor>>;
  /** The gradient of the loss at each target's weight, batch by batch, in the weight's own layout, by target path. */
  gradients(batches: number): AsyncIterable<ReadonlyMap<string, Tensor>>;
}

/** What a plan settles for one target. */
export interface PlannedTarget<C> {
  /** Changes of its configuration: a rank found in the data. */
  readonly c?: Partial<C>;
  /** Given to `init`. */
  readonly tensors?: Params<Tensor>;
}

/**
 * A training method: pure functions and a schema. `C` is the resolved configuration of one target (patterns already
 * applied). What is given decides how the method runs; shared code never asks its name. How it acts is said by `delta`
 * (with `apply` as the fast path), `weight` or `rewrite`; several work together: `weight` changes the module's own
 * parameters, `delta` adds to what then leaves, `rewrite` replaces that.
 */
export interface Method<Schema extends z.ZodType = z.ZodType, C = z.output<Schema>> extends Dynamics<C> {
  readonly spec: 'v1';
  readonly name: string;
  readonly paper: string;
  /** The PEFT file layout its adapters are saved in, by `peft_type`. */
  readonly layout: string;
  /** ΔW is added to the weight, so adapters sum exactly. */
  readonly additive: boolean;
  /** Whether that holds under a configuration, where some are exceptions. */
  adds?(c: C): boolean;
  /** Kinds of targets it can change. With `vector`, modules that hold only vectors (norms) are targets too. */
  readonly kinds: readonly Target['kind'][];
  /** Keys of its own; core adds the shared ones (targetModules, excludeModules, dropout, bias, modulesToSave, ...). */
  readonly config: Schema;
  /** Defaults of shared keys, where they are not core's. */
  readonly defaults?: Partial<SharedOptions>;
  /** camelCase key -> name in PEFT's file, where snake_case does not give it (`alpha` -> `lora_alpha`). */
  readonly fileNames?: Readonly<Record<string, string>>;
  /** Config key -> config key of the pattern that overrides it per module (`r` -> `rankPattern`). */
  readonly patterns?: Readonly<Record<string, string>>;
  /** What is wrong with the configuration for this target; empty when nothing is. */
  check?(target: Target, c: C): string[];
  /** What is wrong with the shared keys: those that mean nothing here, or not beside the method's own. */
  checkShared?(config: SharedConfig & C): string[];
  /** What it must see before it starts. Targets that are not in the result are left out. */
  plan?(look: Look<C>): Promise<ReadonlyMap<string, PlannedTarget<C>>>;
  /** @param given what `plan` gave for this target */
  init(target: Target, c: C, rng: Random, given: Params<Tensor>): Initial;
  /**
   * Tensors that all targets share.
   * @param sites with what `plan` gave for each
   * @param c the configuration without patterns
   */
  shared?(
    sites: readonly { readonly target: Target; readonly c: C; readonly given?: Params<Tensor> }[],
    c: C,
    rng: Random,
  ): Initial;

  /** ΔW in (out, in) layout: the definition of an additive method that does not change weights in place. */
  delta?(site: GraphSite<C>, ops: Ops): ShapedValue;
  /** x ΔWᵀ without forming ΔW: [rows, in] -> [rows, out]. */
  apply?(site: ModuleSite<C>, ops: Ops): ShapedValue;
  /** What stands in place of a parameter of the module, in its layout; the same value where nothing changes. */
  weight?(site: WeightSite<C>, ops: Ops): ShapedValue;
  /** What leaves the module instead of y. */
  rewrite?(site: ModuleSite<C>, ops: Ops): ShapedValue;

  /**
   * What is saved, merged, compressed and served: terms by parameter name within the module (`weight`, `bias`).
   * @param site.weight reads a parameter of the base's module by name, as f32
   */
  toDelta(
    site: SiteOf<Tensor, C> & { weight(name: string): Promise<Tensor> },
  ): Params<Term | readonly Term[]> | Promise<Params<Term | readonly Term[]>>;
  /** Parameters that are saved in full instead, by name within the module. */
  toReplaced?(site: SiteOf<Tensor, C>): Params<TensorRef>;
  /** The tensors again from saved terms, for training on; those that are not given are as in a fresh start. */
  fromDelta?(site: {
    readonly terms: Readonly<Record<string, Term>>;
    readonly target: Target;
    readonly c: C;
    /** The tensors that a fresh start has here. */
    readonly fresh: Params<Tensor>;
  }): Promise<Params<Tensor>>;
  /** Kinds of updates of a weight that `fromDelta` takes. Default: it sees for itself. */
  readonly fromKinds?: readonly string[];
  /** Number of trainables, in closed form. */
  size(target: Target, c: C): number;
  /** Number of shared trainables, in closed form. */
  sharedSize?(c: C): number;

  /** Groups of the optimizer. */
  rule?(parameter: ParameterInfo, c: C): ParameterRule;
  /** A change of the gradient before the optimizer, in symbolic operations (LoRA-FA's correction). */
  precondition?(site: GraphSite<C> & { readonly name: string; readonly g: ShapedValue }, ops: Ops): ShapedValue;
  /**
   * A change of the updated tensor: the proximal step of a penalty.
   * @param site.rate the scheduled rate of the tensor's group, []
   */
  prox?(
    site: GraphSite<C> & { readonly name: string; readonly next: ShapedValue; readonly rate: ShapedValue },
    ops: Ops,
  ): ShapedValue;
  /** A term of the loss over all targets, []. It enters the gradient, and is reported beside the loss. */
  penalty?(
    all: {
      readonly sites: readonly (GraphSite<C> & { readonly parameters: Params<ShapedValue> })[];
      /** Parameters trained in full beside the method: their value now and at the start of the run. */
      readonly replaced: readonly { readonly value: ShapedValue; readonly start: Tensor }[];
      /** Numbers in the whole base. */
      readonly parameters: number;
      readonly c: C;
    },
    ops: Ops,
  ): ShapedValue | undefined;
  /** Numbers of an update that graphs take as inputs: rates of thresholds, scales that change over a run. */
  scalars?(clock: Clock, c: C): Readonly<Record<string, number>>;
}
