import { testMethod } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { sora } from '../src/index.js';

describe('sora', () => {
  testMethod(sora);
  testMethod(sora, { config: { r: 3, alpha: 5, threshold: 'official', gateRule: 'adamw', lambda: 1e-3, l1: 0.1 } });
  testMethod(sora, { config: { r: 4, threshold: 'constant', lambda: 1e-3, gateLr: 0.1, dropout: 0.1 } });
  testMethod(sora, { config: { schedule: { stages: 2, first: 1 } } });
});
