import { convolution } from './convolution.js';
import { creation } from './creation.js';
import { elementwise } from './elementwise.js';
import { indexing } from './indexing.js';
import { matrix } from './matrix.js';
import { normalization } from './normalization.js';
import type { Operations } from './operation.js';
import { reductions } from './reduce.js';
import { shapes } from './shapes.js';

/** Every operation of the reference, by ONNX name. */
export const operations: Operations = {
  ...elementwise,
  ...matrix,
  ...shapes,
  ...creation,
  ...indexing,
  ...reductions,
  ...normalization,
  ...convolution,
};
