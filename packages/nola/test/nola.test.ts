import { testMethod } from '@peftjs/testkit';
import { describe } from 'vitest';
import { nola, seededLowRank } from '../src/index.js';

const kinds = [seededLowRank];

describe('nola', () => {
  testMethod(nola, { kinds, config: { bases: 12, alpha: 16 } });
  testMethod(nola, { kinds, config: { r: 3, alpha: 6, bases: 8, variant: 'paper', cache: 0 } });
  testMethod(nola, { kinds, config: { r: 4, alpha: 8, bases: 10, variant: 'vit', dropout: 0.1 }, startsChanged: true });
});
