import { type Attributes, PeftError } from '@peftjs/core';
import type { NdArray } from './array.js';

/** Inputs of a node; `undefined` where an optional one is left out. */
export type Inputs = readonly (NdArray | undefined)[];

/** An operation of the standard domain: inputs and attributes to outputs. `outputs` is how many the node names. */
export type Operation = (inputs: Inputs, attributes: Attributes, outputs: number) => NdArray | readonly NdArray[];

export type Operations = Readonly<Record<string, Operation>>;

/** Input `i`, which the operation cannot do without. */
export function need(inputs: Inputs, i: number): NdArray {
  const input = inputs[i];
  if (!input) throw new PeftError('GRAPH_INVALID', `input ${i} is missing`);
  return input;
}

/** Integers given as input `i` (since opset 13) or as an attribute (before). */
export function integers(inputs: Inputs, i: number, attributes: Attributes, name: string): number[] | undefined {
  const given = inputs[i]?.data ?? attributes.numbers(name);
  return given && Array.from(given);
}
