import { definePlugin } from '@peftjs/core';
import { deltazip } from './deltazip/codec.js';
import { deltazipKind } from './deltazip/kind.js';
import { int8 } from './int8/codec.js';
import { int8Kind } from './int8/kind.js';
import { lowRank } from './low-rank/codec.js';
import { lowRankInt8 } from './low-rank/kind.js';
import { bitdelta } from './signs/codec.js';
import { signs } from './signs/kind.js';

export { type Calibrator, calibrators } from './calibrate/calibrators.js';
export { DeltaZipConfig, type DeltaZipOptions, deltazip } from './deltazip/codec.js';
export { deltazipKind } from './deltazip/kind.js';
export { type Calibration, type CalibrationOptions, calibration } from './deltazip/moments.js';
export { type ObsOptions, type ObsResult, obs } from './deltazip/obs.js';
export { codeOf, numberOf, scaleOfRun } from './deltazip/quantiser.js';
export { magnitudePruned } from './deltazip/two-of-four.js';
export { Int8Config, type Int8Options, int8 } from './int8/codec.js';
export { int8Kind } from './int8/kind.js';
export { dequantise, type Int8Rows, quantiseAsymmetric, quantiseSymmetric } from './int8/quantise.js';
export { LowRankConfig, type LowRankOptions, lowRank } from './low-rank/codec.js';
export { lowRankInt8 } from './low-rank/kind.js';
export { allocateRanks, rankForFraction, type Spectrum } from './low-rank/rank.js';
export { relativeError } from './matrix.js';
export { type CalibrateEvent, type CalibrateOptions, CalibrateStepEvent, calibrateScales } from './signs/calibrate.js';
export { BitDeltaConfig, type BitDeltaOptions, bitdelta } from './signs/codec.js';
export { signs } from './signs/kind.js';

export default /* @__PURE__ */ definePlugin({
  spec: 'v1',
  name: '@peftjs/bitdelta',
  codecs: [bitdelta, int8, lowRank, deltazip],
  kinds: [signs, int8Kind, lowRankInt8, deltazipKind],
});
