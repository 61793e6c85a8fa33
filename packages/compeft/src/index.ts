import { definePlugin } from '@peftjs/core';
import { compeft } from './codec.js';
import { ternary, ternaryLowRank } from './kinds.js';

export {
  addTo,
  cosine,
  dot,
  electMean,
  matvec,
  overlap,
  type Scaled,
  signConflict,
  squaredDistance,
  squaredNorm,
} from './arithmetic.js';
export { compeft } from './codec.js';
export { CompeftConfig, type CompeftOptions, type CompeftSettings } from './config.js';
export {
  readFactors,
  readTernary,
  type TernaryFactors,
  ternary,
  ternaryLowRank,
  ternaryLowRankTerm,
  ternaryTerm,
} from './kinds.js';
export {
  createRiceWriter,
  entropyBits,
  type Rice,
  type RiceWriter,
  readRice,
  riceBits,
  riceParameter,
} from './rice.js';
export { type AlphaEvent, type AlphaSearch, searchAlpha } from './search.js';
export { fromSigns, maskProblem, survivors, type Ternary, ternaryOf, toF32 } from './words.js';

export default /* @__PURE__ */ definePlugin({
  spec: 'v1',
  name: '@peftjs/compeft',
  codecs: [compeft],
  kinds: [ternary, ternaryLowRank],
});
