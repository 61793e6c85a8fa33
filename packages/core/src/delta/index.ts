export * from './algebra.js';
export * from './apply.js';
export * from './define.js';
export * from './delta.js';
export * from './digest.js';
export { dense, denseTerm } from './kinds/dense.js';
export { lowRank, lowRankTerm } from './kinds/low-rank.js';
export * from './registry.js';
export * from './stamp.js';
