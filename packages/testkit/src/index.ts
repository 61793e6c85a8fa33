export * from './allclose.js';
export { backendLaws, type TestBackendOptions } from './backend-laws/index.js';
export {
  type BuiltCase,
  bindings,
  buildCase,
  type Case,
  type CaseInput,
  cases,
  differentiated,
  withGradients,
} from './cases/index.js';
export { type CountingBackend, countingBackend } from './counting.js';
export { type DifferenceOptions, directionalDifference, finiteDifference } from './finite-difference.js';
export { type CheckedInput, checkGradients, type GradientsCheckOptions } from './gradients-check.js';
export { assert, checkLaws, expectPeftError, type Law } from './law.js';
export { type FixtureInputs, fixtureFormat, fixtureResults } from './method-laws/fixture.js';
export { type Fill, tensorOf } from './numbers.js';
export { type ReferenceOptions, referenceBackend } from './reference/backend.js';
export { goldensPath, sharedPath } from './shared.js';
export { testBackend } from './test-backend.js';
export { methodLaws, type TestMethodOptions, testMethod } from './test-method.js';
export { tinyModel, tinyParameters } from './tiny-model.js';
export { type TinyExample, tinyFeeds, tinyRows } from './tiny-task.js';
