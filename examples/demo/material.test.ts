import { readFileSync } from 'node:fs';
import { createTokenizer } from '@peftjs/models';
import { describe, expect, it } from 'vitest';
import { corpus } from './corpus.js';
import { exactMatch, skills } from './skills.js';
import { learnTokenizer } from './tokenizer.js';

const read = (file: string): unknown => JSON.parse(readFileSync(new URL(`base/${file}`, import.meta.url), 'utf8'));

describe('the material of the demo', () => {
  it('is the same every time', () => {
    expect(corpus(50)).toEqual(corpus(50));
    expect(corpus(50)).not.toEqual(corpus(50, 7));
    expect(skills()).toEqual(skills());
  });

  it.each(skills())('keeps held-out prompts of $tenant out of its training rows', ({ train, heldOut }) => {
    const seen = new Set(train.map(({ prompt }) => prompt));
    expect(seen.size).toBe(train.length);
    expect(heldOut.length).toBe(40);
    expect(heldOut.filter(({ prompt }) => seen.has(prompt))).toEqual([]);
  });

  it.each(skills())('never shows the style of $tenant to the base', ({ train, heldOut }) => {
    const answers = new Set([...train, ...heldOut].map(({ prompt, completion }) => prompt + completion));
    expect(corpus(20_000).filter((text) => answers.has(text))).toEqual([]);
  });

  it('has the tokenizer that the recipe learns', () => {
    const { vocab_size: size } = read('config.json') as { vocab_size: number };
    expect(learnTokenizer(corpus(4000), size)).toEqual(read('tokenizer.json'));
  });

  it('reads its own texts back from tokens', () => {
    const tokenizer = createTokenizer(read('tokenizer.json') as never, read('tokenizer_config.json') as never);
    for (const text of [
      ...corpus(100),
      'Ünïcode — 漢字 🦊',
      ...skills().map(({ heldOut }) => heldOut[0]!.completion),
    ]) {
      expect(tokenizer.decode(tokenizer.encode(text).ids)).toBe(text);
    }
  });

  it('counts exact matches', () => {
    const rows = [
      { prompt: 'a', completion: ' b' },
      { prompt: 'c', completion: ' d' },
    ];
    expect(exactMatch([' b', ' d'], rows)).toBe(1);
    expect(exactMatch([' b', 'd'], rows)).toBe(0.5);
    expect(exactMatch([], rows)).toBe(0);
  });
});
