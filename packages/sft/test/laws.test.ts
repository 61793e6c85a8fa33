import { testMethod } from '@peftjs/testkit';
import { describe } from 'vitest';
import { sft, spiel } from '../src/index.js';

// Linear weights alone are written as SHIRA, which fills up with zeros.
const targetModules = ['up', 'down'];

// The tiny model has 192 numbers that may change, so a share of them is larger than usual.
describe('laws', () => {
  testMethod(sft, { seedless: true, config: { density: 0.2, layerNorms: true } });
  testMethod(sft, {
    seedless: true,
    config: { targetModules, count: 20, iterations: 2, biases: false, fullL1: 0.1, sparseL1: 0.1 },
  });
  testMethod(spiel, { config: { density: 0.2, reselectEvery: 3, accumulateFor: 1 } });
  testMethod(spiel, {
    config: { targetModules, count: 25, reselectEvery: 2, accumulateFor: 1, policy: 'cosine', criterion: 'ma' },
  });
});
