import { PeftError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Attribute, Node } from './graph.js';

/** Attributes of a node, read by type. @throws PeftError GRAPH_INVALID for another type than asked for */
export interface Attributes {
  number(name: string, missing: number): number;
  string(name: string, missing: string): string;
  numbers(name: string): readonly number[] | undefined;
  tensor(name: string): Tensor | undefined;
}

export function attributesOf(node: Node): Attributes {
  const value = <T extends Attribute['type']>(name: string, ...types: T[]) => {
    const attribute = node.attributes[name];
    if (attribute && !(types as string[]).includes(attribute.type)) {
      const expected = types.join(' or ');
      throw new PeftError('GRAPH_INVALID', `${node.op} ${node.name}: ${name} is ${attribute.type}, not ${expected}.`);
    }
    return attribute as Extract<Attribute, { type: T }> | undefined;
  };
  return {
    number: (name, missing) => value(name, 'int', 'float')?.value ?? missing,
    string: (name, missing) => value(name, 'string')?.value ?? missing,
    numbers: (name) => value(name, 'ints', 'floats')?.value,
    tensor: (name) => value(name, 'tensor')?.value,
  };
}
