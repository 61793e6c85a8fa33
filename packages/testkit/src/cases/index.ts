import type { Case } from './case.js';
import { convolutionCases } from './convolution.js';
import { elementwiseCases } from './elementwise.js';
import { indexingCases } from './indexing.js';
import { matrixCases } from './matrix.js';
import { networkCases } from './network.js';
import { shapeCases } from './shape.js';

export {
  type BuiltCase,
  bindings,
  buildCase,
  type Case,
  type CaseInput,
  differentiated,
  withGradients,
} from './case.js';

/** Small graphs that together use every operation of `createOps` and every rule of differentiation. */
export const cases: readonly Case[] = [
  ...elementwiseCases,
  ...matrixCases,
  ...convolutionCases,
  ...shapeCases,
  ...indexingCases,
  ...networkCases,
];
