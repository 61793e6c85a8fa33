import type { Rules } from './rule.js';
import { convolutionRules } from './rules/convolution.js';
import { elementwiseRules } from './rules/elementwise.js';
import { indexingRules } from './rules/indexing.js';
import { matrixRules } from './rules/matrix.js';
import { normalizationRules } from './rules/normalization.js';
import { reduceRules } from './rules/reduce.js';
import { shapeRules } from './rules/shape.js';

/** Every operation with a derivative, by ONNX name in the standard domain. */
export const rules: Rules = {
  ...convolutionRules,
  ...elementwiseRules,
  ...indexingRules,
  ...matrixRules,
  ...normalizationRules,
  ...reduceRules,
  ...shapeRules,
};
