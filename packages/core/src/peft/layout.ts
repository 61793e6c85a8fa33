import type { Target } from '../adapter/target.js';
import type { Adapter, Delta } from '../delta/delta.js';
import type { Kinds } from '../delta/registry.js';
import { stamp } from '../delta/stamp.js';
import type { TensorRef } from '../tensor/tensor.js';

/** What is known of the base an adapter belongs to. The more, the more is checked. */
export interface BaseFacts {
  readonly parameters?: ReadonlyMap<string, Pick<TensorRef, 'shape'> & Partial<TensorRef>>;
  readonly targets?: readonly Target[];
}

/** Shapes of parameters, by path, asked for when they are needed. */
export type Shapes = () => Promise<ReadonlyMap<string, readonly number[]>>;

/** A PEFT configuration as plain data, in the file's own spelling. Keys without prototype, so none has a meaning. */
export type PeftConfig = ReadonlyMap<string, unknown>;

export interface LayoutInput {
  readonly config: PeftConfig;
  readonly tensors: ReadonlyMap<string, TensorRef>;
  readonly base: BaseFacts;
  /** Shapes of parameters, for layouts whose files do not say them, where the base is not known. */
  readonly shapes?: Shapes;
  /** Kinds of terms, for layouts that hold any. */
  readonly kinds: Kinds;
  /** What messages call the adapter. */
  readonly subject: string;
  warn(message: string): void;
}

export interface LayoutOutput {
  readonly delta: Delta;
  readonly replaced: ReadonlyMap<string, TensorRef>;
  /** What the configuration says of the method, in the spelling of code. */
  readonly method?: NonNullable<Adapter['method']>;
}

/** One `peft_type`: how its folders are read and written. */
export interface Layout {
  readonly spec: 'v1';
  readonly peftType: string;
  /** @throws PeftError ADAPTER_INVALID, ADAPTER_MISMATCH, CONFIG_UNSUPPORTED, each listing everything wrong */
  read(input: LayoutInput): LayoutOutput | Promise<LayoutOutput>;
  /** @throws PeftError DELTA_CONFLICT when the layout cannot hold the adapter exactly */
  write(adapter: Adapter, options: LayoutWriteOptions): Promise<LayoutFiles>;
}

export interface LayoutWriteOptions {
  readonly kinds: Kinds;
  /** What is known of the base, where the layout takes some kinds of modules only. */
  readonly base?: Pick<BaseFacts, 'targets'>;
}

/** What a layout writes. */
export interface LayoutFiles {
  readonly config: PeftConfig;
  readonly tensors: ReadonlyMap<string, TensorRef>;
  /** Shapes of what changes, where configuration and tensors do not say them: kept in peftjs.json. */
  readonly shapes?: ReadonlyMap<string, readonly number[]>;
}

/** A layout, marked for this contract: what a package lists under `layouts`. */
export const defineLayout = (layout: Layout): Layout => stamp({ ...layout }, 'layout', layout.spec);
