import { convolution } from './convolution.js';
import { elementwise } from './elementwise.js';
import { indexing } from './indexing.js';
import { matrix } from './matrix.js';
import { network } from './network.js';
import type { Operations } from './operation.js';
import { reductions } from './reduce.js';
import { shapes } from './shape.js';

/** Every operation on the device, by its ONNX name. */
export const operations: Operations = {
  ...elementwise,
  ...matrix,
  ...shapes,
  ...indexing,
  ...reductions,
  ...network,
  ...convolution,
};
