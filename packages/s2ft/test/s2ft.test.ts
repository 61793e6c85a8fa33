import { testMethod } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { s2ft } from '../src/index.js';

describe('s2ft', () => {
  testMethod(s2ft);

  it('takes its defaults from the paper', () => {
    expect(s2ft().config).toMatchObject({ r: 8, alpha: 16 });
  });
});
