import { testMethod } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { vera } from '../src/index.js';

describe('vera', () => {
  testMethod(vera, { seedless: true, config: { r: 6 } });
  testMethod(vera, { seedless: true, config: { r: 3, saveProjection: false, projectionPrngKey: 7, dropout: 0.1 } });
  testMethod(vera, {
    seedless: true,
    config: { r: 5, targetModules: ['up', 'down'], bias: 'vera_only', dInitial: -0.5 },
  });

  it('takes its defaults from the paper', () => {
    expect(vera().config).toMatchObject({ r: 256, dInitial: 0.1 });
  });
});
