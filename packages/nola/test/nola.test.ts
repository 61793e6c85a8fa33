import { testMethod } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { nola } from '../src/index.js';

describe('nola', () => {
  testMethod(nola);

  it('takes its defaults from the paper', () => {
    expect(nola().config).toMatchObject({ r: 8, alpha: 16 });
  });
});
