export { underOwnPaths } from './aliases.js';
export * from './attach-delta.js';
export * from './attach-method.js';
export * from './attach-slots.js';
export { type BaseLookParts, baseLook } from './base-look.js';
export * from './bind.js';
export {
  codeKey,
  type FileNames,
  fileKey,
  type Resolved,
  resolveConfig,
  type SharedConfig,
  type SharedOptions,
  sharedConfig,
} from './config.js';
export * from './define-method.js';
export * from './dynamics.js';
export type { DropoutInput } from './entering.js';
export { type MatchReport, matchModules, matchTargets, type TargetRules, type Unmatched } from './match.js';
export * from './method.js';
export * from './names.js';
export { nearNames } from './near.js';
export * from './onnx/index.js';
export { type PythonRegex, pythonRegex } from './python-regex.js';
export { onAllSharing } from './shared-terms.js';
export * from './site.js';
export * from './start.js';
export * from './target.js';
export { type TokenIndices, type TokenRows, tokenRowsName } from './token-rows.js';
export type { Trainable } from './trainables.js';
