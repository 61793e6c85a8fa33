import type * as OrtNode from 'onnxruntime-node';

/** What both runtimes share, which is all that is used of them. */
export type Ort = Pick<typeof OrtNode, 'InferenceSession' | 'Tensor' | 'env'>;
export type OrtTensor = OrtNode.Tensor;
export type OrtType = OrtNode.Tensor.Type;
export type OrtOptions = OrtNode.InferenceSession.SessionOptions;
