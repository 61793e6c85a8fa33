import type { DType } from '../../tensor/tensor.js';
import type { Attribute } from '../graph.js';
import { onnxDType } from './types.js';

export interface TypedNode {
  readonly op: string;
  readonly attributes: Readonly<Record<string, Attribute>>;
  /** Of the inputs, in order; undefined for one that is left out. */
  readonly inputs: readonly (DType | undefined)[];
}

type Rule = DType | number | ((node: TypedNode) => DType | undefined);

const named =
  (attribute: string, otherwise: DType): Rule =>
  ({ attributes }) => {
    const given = attributes[attribute];
    return given?.type === 'int' ? onnxDType(given.value) : otherwise;
  };

const filled: Rule = ({ attributes }) => (attributes.value?.type === 'tensor' ? attributes.value.value.dtype : 'f32');
const zeroPoint: Rule = ({ inputs, attributes }) => {
  const given = attributes.output_dtype;
  return inputs[2] ?? (given?.type === 'int' && given.value !== 0 ? onnxDType(given.value) : 'u8');
};

/** Output types that are not that of the first input: a dtype, the index of the input that has it, or a rule. */
const rules: Readonly<Record<string, readonly Rule[]>> = {
  And: ['bool'],
  ArgMax: ['i64'],
  ArgMin: ['i64'],
  Cast: [named('to', 'f32')],
  CastLike: [1],
  ConstantOfShape: [filled],
  ConvInteger: ['i32'],
  DequantizeLinear: [1],
  Dropout: [0, 'bool'],
  DynamicQuantizeLinear: ['u8', 'f32', 'u8'],
  Equal: ['bool'],
  EyeLike: [named('dtype', 'f32')],
  Greater: ['bool'],
  GreaterOrEqual: ['bool'],
  IsInf: ['bool'],
  IsNaN: ['bool'],
  Less: ['bool'],
  LessOrEqual: ['bool'],
  MatMulInteger: ['i32'],
  NonZero: ['i64'],
  Not: ['bool'],
  OneHot: [2],
  Or: ['bool'],
  QLinearConv: [7],
  QLinearMatMul: [7],
  QuantizeLinear: [zeroPoint],
  RandomNormal: [named('dtype', 'f32')],
  RandomUniform: [named('dtype', 'f32')],
  Shape: ['i64'],
  Size: ['i64'],
  TopK: [0, 'i64'],
  Unique: [0, 'i64', 'i64', 'i64'],
  Where: [1],
  Xor: ['bool'],
};

/**
 * The type of a node's output where the file does not say it: by the operation, else that of its first input, else
 * f32. A foreign operation that no rule knows can be wrong here; files that matter carry `value_info`.
 */
export function outputDType(node: TypedNode, at: number): DType {
  const rule = rules[node.op]?.[at] ?? 0;
  const given = typeof rule === 'function' ? rule(node) : typeof rule === 'number' ? node.inputs[rule] : rule;
  return given ?? node.inputs[0] ?? 'f32';
}
