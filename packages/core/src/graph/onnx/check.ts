import { PeftError, Problems } from '../../errors.js';
import type { GraphProto, ModelProto } from './onnx_pb.gen.js';

/** The newest file version and standard operator set that ONNX Runtime 1.30 reads. */
const newest = { ir: 13n, opset: 26n };

/** '' and 'ai.onnx' name the same operator set. */
export const domainOf = (domain: string): string => (domain === 'ai.onnx' ? '' : domain);

/**
 * What a model must be before its graph is looked at.
 * @throws PeftError FILE_INVALID with everything that is wrong; MODEL_UNSUPPORTED for what is valid but not read
 */
export function checkModel(model: ModelProto): GraphProto {
  const problems = new Problems();
  const opset = new Map<string, bigint>();
  for (const { domain, version } of model.opsetImport) {
    if (opset.has(domainOf(domain))) problems.add(`it imports the operator set "${domain}" twice`);
    opset.set(domainOf(domain), version);
  }
  const standard = opset.get('');
  if (model.irVersion < 3n || model.irVersion > newest.ir)
    problems.add(`its ir_version is ${model.irVersion}; 3 to ${newest.ir} are read`);
  if (standard === undefined) problems.add('it imports no standard operator set (opset_import)');
  else if (standard < 7n || standard > newest.opset)
    problems.add(`its operator set is ${standard}; 7 to ${newest.opset} are read`);
  if (!model.graph) problems.add('it has no graph');
  for (const [i, node] of (model.graph?.node ?? []).entries()) {
    if (node.opType === '') problems.add(`node ${i} ("${node.name}") has no operation`);
    if (!opset.has(domainOf(node.domain)))
      problems.add(`node "${node.name}" is of the domain "${node.domain}", which the model does not import`);
  }
  problems.throwIfAny('FILE_INVALID', 'The ONNX model cannot be read');

  const foreign: string[] = [];
  if (model.functions.length > 0) foreign.push('local functions (inline them when exporting)');
  if (model.graph!.sparseInitializer.length > 0) foreign.push('sparse initializers');
  if (foreign.length > 0)
    throw new PeftError(
      'MODEL_UNSUPPORTED',
      `The ONNX model has ${foreign.join(' and ')}, which this library does not read.`,
    );
  return model.graph!;
}
