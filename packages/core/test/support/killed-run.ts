import { adamw } from '../../src/index.js';
import { tinyLora, tinyRows } from './tiny-model.js';

/** Options of a run that a test kills and resumes: with dropout, accumulation, a short last batch and evaluations. */
export const killedRun = {
  method: tinyLora({ targetModules: ['up'], dropout: 0.25 }),
  data: tinyRows(27),
  evalData: tinyRows(10, 3),
  evalEvery: 3,
  keepBest: true,
  lr: 0.05,
  steps: 20,
  batchSize: 4,
  gradAccumulation: 2,
  schedule: 'cosine',
  warmupSteps: 3,
  optimizer: adamw(),
  weightDecay: 0.01,
  maxGradNorm: 0.4,
  seed: 11,
} as const;
