import type { z } from 'zod';
import type { Term } from '../delta/delta.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import type { Random } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Target } from './target.js';

export type Params<T> = Readonly<Record<string, T>>;

/** Tensors of one target: `train` are updated, `frozen` take part but never change. */
export interface Initial {
  readonly train: Params<Tensor>;
  readonly frozen?: Params<Tensor>;
}

/** How the optimizer treats a trainable tensor; everything not given is that of the run. */
export interface ParameterRule {
  readonly lr?: number; // factor on the run's rate
  readonly absoluteLr?: number; // replaces the run's rate (still scheduled)
  readonly weightDecay?: number;
}

/** One tensor of one target as update rules see it. */
export interface ParameterInfo {
  readonly target: Target;
  readonly name: string; // the method's letter, e.g. 'a'
  readonly shape: readonly number[];
}

/**
 * A training method: pure functions and a schema. `C` is the resolved configuration of one target
 * (patterns already applied). What is given decides how the method runs; shared code never asks its name.
 */
export interface Method<Schema extends z.ZodType = z.ZodType, C = z.output<Schema>> {
  readonly spec: 'v1';
  readonly name: string;
  readonly paper: string;
  /** The PEFT file layout its adapters are saved in, by `peft_type`. */
  readonly layout: string;
  /** ΔW is added to the weight, so adapters sum exactly. */
  readonly additive: boolean;
  /** Kinds of targets it can change. */
  readonly kinds: readonly Target['kind'][];
  /** Keys of its own; core adds the shared ones (targetModules, excludeModules, dropout, bias, modulesToSave, ...). */
  readonly config: Schema;
  /** camelCase key -> name in PEFT's file, where snake_case does not give it (`alpha` -> `lora_alpha`). */
  readonly fileNames?: Readonly<Record<string, string>>;
  /** Config key -> config key of the pattern that overrides it per module (`r` -> `rankPattern`). */
  readonly patterns?: Readonly<Record<string, string>>;
  /** What is wrong with the configuration for this target; empty when nothing is. */
  check?(target: Target, c: C): string[];
  init(target: Target, c: C, rng: Random): Initial;
  /** ΔW in (out, in) layout: the definition. */
  delta(site: { readonly p: Params<ShapedValue>; readonly target: Target; readonly c: C }, ops: Ops): ShapedValue;
  /** x ΔWᵀ without forming ΔW: [rows, in] -> [rows, out]. Dropout is already applied to x. */
  apply?(
    site: { readonly x: ShapedValue; readonly p: Params<ShapedValue>; readonly target: Target; readonly c: C },
    ops: Ops,
  ): ShapedValue;
  /** What is saved, merged, compressed and served: terms by parameter name within the module (`weight`, `bias`). */
  toDelta(site: { readonly p: Params<Tensor>; readonly target: Target; readonly c: C }): Readonly<Record<string, Term>>;
  /** The tensors again from saved terms, for training on. */
  fromDelta?(site: {
    readonly terms: Readonly<Record<string, Term>>;
    readonly target: Target;
    readonly c: C;
  }): Promise<Params<Tensor>>;
  /** Number of trainables, in closed form. */
  size(target: Target, c: C): number;
  /** Groups of the optimizer. */
  rule?(parameter: ParameterInfo, c: C): ParameterRule;
  /** A change of the gradient before the optimizer, in symbolic operations (LoRA-FA's correction). */
  precondition?(
    site: { readonly name: string; readonly g: ShapedValue; readonly p: Params<ShapedValue>; readonly c: C },
    ops: Ops,
  ): ShapedValue;
}
