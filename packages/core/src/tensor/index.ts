export { cast, floats, scaled, toF32 } from './convert.js';
export {
  alloc,
  arrayLength,
  bitsOf,
  byteLength,
  bytesOf,
  checkTensor,
  dtypes,
  elementCount,
  fromBytes,
  isFloat,
  tensorProblem,
} from './dtype.js';
export { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from './half.js';
export { packInt4, unpackI4, unpackU4 } from './int4.js';
export { eachLargest, largest, type Scores } from './largest.js';
export { inversePositive, orthonormalBasis } from './linalg.js';
export { mersenneTwister, torchUniform } from './mersenne-twister.js';
export { philox } from './philox.js';
export { type Matrix, matmul, matrix, type Qr, qr, transpose } from './qr.js';
export { createRandom, type Random, randomAlgorithm } from './random.js';
export { f32, type RowRange, readInPieces, rowRange, tensor, tensorRef, zeros } from './refs.js';
export { smallFloatValues } from './small-float.js';
export { type Svd, svd } from './svd.js';
export type { DType, Tensor, TensorRef, TypedArray } from './tensor.js';
export { topSvd } from './top-svd.js';
export { transposed } from './transpose.js';
