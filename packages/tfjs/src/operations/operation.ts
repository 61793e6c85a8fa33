import type { Attributes, DType } from '@peftjs/core';
import { PeftError } from '@peftjs/core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** The inputs of a node while it runs. */
export interface Inputs {
  readonly count: number;
  has(i: number): boolean;
  /** Input `i` on the device. It must not be given back as a result: clone it. */
  tensor(i: number): Tensor;
  shape(i: number): readonly number[];
  /** Input `i` as numbers in JavaScript: axes, sizes, bounds. */
  numbers(i: number): number[];
  /** The same where they are known without waiting for the device. */
  known(i: number): number[] | undefined;
}

/** Runs one node on the current backend. What it makes on the way is disposed of by the caller. */
export type Kernel = (inputs: Inputs) => Tensor | readonly Tensor[];

/** What is known of a node at compile time. */
export interface NodeView extends Attributes {
  readonly op: string;
  /** How many outputs it names. */
  readonly outputs: number;
  /** Of its first output. */
  readonly dtype: DType;
  /** The rank of input `i` where the graph knows it. */
  rank(i: number): number | undefined;
  readonly device: DeviceTraits;
}

/** Where a device differs from what TensorFlow.js promises, or wants another way round. */
export interface DeviceTraits {
  /** A product with a transposed operand is slow, a transposition before it fast. */
  readonly transposeFirst?: boolean;
  /** A cast only changes what the numbers are called, which some kernels then misread. */
  readonly lazyCasts?: boolean;
  /** Sine and cosine are good to three digits, and only near zero. */
  readonly roughSine?: boolean;
}

/**
 * An operation of the standard domain: reads its attributes once, at compile time.
 * @throws PeftError BACKEND_UNSUPPORTED for a variant that is not there
 */
export type Operation = (node: NodeView) => Kernel;

export type Operations = Readonly<Record<string, Operation>>;

export const unsupported = (what: string) => new PeftError('BACKEND_UNSUPPORTED', what);

/** The non-negative axis. */
export const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** Integers given as input `i` (since opset 13) or as an attribute (before). */
export const integers = (inputs: Inputs, i: number, node: Attributes, name: string): number[] | undefined =>
  inputs.has(i) ? inputs.numbers(i) : node.numbers(name)?.slice();

/** The product of some extents. */
export const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
