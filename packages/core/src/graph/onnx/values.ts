import { PeftError, type Problems } from '../../errors.js';
import type { DType } from '../../tensor/tensor.js';
import type { Dim } from '../dim.js';
import { readDim, unknownDim } from './dims.js';
import type { GraphProto, ValueInfoProto } from './onnx_pb.gen.js';
import { onnxDType } from './types.js';

/** A value while its graph is being read: its type may be found later. */
export interface Draft {
  readonly name: string;
  dtype: DType | undefined;
  readonly shape: readonly Dim[] | undefined;
}

/** The types that a file declares, by value name. Inner values without one are absent. */
export function declaredValues(graph: GraphProto, problems: Problems): Map<string, Draft> {
  const declared = new Map<string, Draft>();
  for (const info of [...graph.valueInfo, ...graph.input, ...graph.output]) {
    const draft = readValue(info, problems);
    if (draft) declared.set(info.name, draft);
  }
  for (const { name } of graph.input) if (!declared.has(name)) problems.add(`input "${name}" has no tensor type`);
  return declared;
}

/** @throws PeftError MODEL_UNSUPPORTED for values that are not tensors of numbers */
function readValue({ name, type }: ValueInfoProto, problems: Problems): Draft | undefined {
  if (!type?.value.case) return undefined;
  const dtype = type.value.case === 'tensorType' ? onnxDType(type.value.value.elemType) : undefined;
  if (type.value.case !== 'tensorType' || !dtype) {
    const what = type.value.case === 'tensorType' ? `elements of type ${type.value.value.elemType}` : type.value.case;
    throw new PeftError('MODEL_UNSUPPORTED', `Value "${name}" has ${what}; only tensors of numbers are read.`);
  }
  const dims = type.value.value.shape?.dim.map(({ value }, axis): Dim => {
    if (value.case === 'dimParam' && value.value !== '') return readDim(value.value);
    if (value.case !== 'dimValue') return unknownDim(name, axis);
    if (value.value >= 0n && value.value <= Number.MAX_SAFE_INTEGER) return Number(value.value);
    if (value.value !== -1n) problems.add(`axis ${axis} of "${name}" has the extent ${value.value}`);
    return unknownDim(name, axis); // -1: some exporters write it for "not known"
  });
  return { name, dtype, shape: dims };
}
