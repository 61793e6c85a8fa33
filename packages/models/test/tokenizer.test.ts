import { existsSync, readFileSync } from 'node:fs';
import { isPeftError } from '@peftjs/core';
import { sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';

import { createChatTemplate, createTokenizer, readChatTemplate, readTokenizer } from '../src/index.js';
import { toyTokenizer } from './toy-tokenizer.js';

const toy = createTokenizer(toyTokenizer, { bos_token: '[CLS]', eos_token: { content: '[SEP]' }, pad_token: null });

describe('tokenizer', () => {
  it('adds special tokens around a text and between a pair', () => {
    expect(toy.encode('A fine film.')).toEqual({ ids: [2, 4, 5, 6, 12, 3], typeIds: [0, 0, 0, 0, 0, 0] });
    expect(toy.encode('fine', { pair: 'words' })).toEqual({ ids: [2, 5, 3, 9, 10, 3], typeIds: [0, 0, 0, 1, 1, 1] });
    expect(toy.encode('fine words', { specialTokens: false }).ids).toEqual([5, 9, 10]);
    expect([toy.startIds, toy.endIds]).toEqual([[2], [3]]);
  });

  it('cuts to a length that counts special tokens, the longer text of a pair first', () => {
    expect(toy.encode('a fine film of many words', { maxLength: 5 }).ids).toEqual([2, 4, 5, 6, 3]);
    const pair = toy.encode('a fine film of many words', { pair: 'bad film', maxLength: 7 });
    expect(pair).toEqual({ ids: [2, 4, 5, 3, 11, 6, 3], typeIds: [0, 0, 0, 0, 1, 1, 1] });
    expect(toy.encode('a fine film', { maxLength: 2, specialTokens: false }).ids).toEqual([4, 5]);
    expect(toy.encode('a', { maxLength: 1 }).ids).toEqual([2, 3]);
  });

  it('gives unknown words the unknown token', () => {
    expect(toy.encode('a xylophone', { specialTokens: false }).ids).toEqual([4, 1]);
  });

  it('decodes without special tokens unless asked', () => {
    expect(toy.decode([2, 4, 5, 9, 10, 3])).toBe('a fine words');
    expect(toy.decode([2, 4, 3], { skipSpecialTokens: false })).toBe('[CLS] a [SEP]');
    expect(toy.decode([])).toBe('');
  });

  it('collects special tokens for templates, whichever way they are written', () => {
    expect(toy.special).toEqual({ bos_token: '[CLS]', eos_token: '[SEP]' });
  });

  it('refuses a file that is not a tokenizer', () => {
    expect(() => createTokenizer({ model: {} })).toThrow(/tokenizer\.json cannot be used/);
  });
});

interface Reference {
  sentences: string[];
  input_ids: number[][];
  cases: { prompt: string; input_ids: number[]; greedy_ids: number[]; greedy_text: string }[];
}

const reference = (path: string): Reference => JSON.parse(readFileSync(path, 'utf8')) as Reference;
const minilm = sharedPath('models', 'all-MiniLM-L6-v2');
const stories = sharedPath('models', 'stories260k');
const minilmReference = sharedPath('reference', 'all-MiniLM-L6-v2.json');
const smollmReference = sharedPath('reference', 'smollm2.json');
const smollm = process.env.PEFTJS_SMOLLM2;

/** Texts whose characters take one to four bytes, and one of several code points. */
const scripts = ['naïve café', 'Grüße, 日本語 and 🙂🙃', 'שלום', '👩‍👩‍👧 family', 'tab\tand\nnewline'];

describe.each([
  ['a byte-level tokenizer', smollm && existsSync(smollm) ? smollm : undefined],
  ['a tokenizer with byte fallback', stories],
])('streaming of %s', (_, directory) => {
  it.skipIf(!directory)('gives whole characters that add up to the text', async () => {
    const tokenizer = (await readTokenizer(directory!))!;
    for (const text of scripts) {
      const { ids } = tokenizer.encode(text);
      const stream = tokenizer.stream();
      const pieces = [...ids.map((id) => stream.push(id)), stream.end()];
      expect(pieces.join('')).toBe(tokenizer.decode(ids));
      expect(pieces.join('')).toBe(text);
      for (const piece of pieces) expect(piece).not.toContain('\ufffd');
    }
  });
});

describe('reference ids', () => {
  it.skipIf(!minilm || !minilmReference)('of all-MiniLM-L6-v2 are reproduced', async () => {
    const tokenizer = (await readTokenizer(minilm!))!;
    const { sentences, input_ids } = reference(minilmReference!);
    expect(sentences.map((text) => tokenizer.encode(text).ids)).toEqual(input_ids);
  });

  it.skipIf(!smollm || !smollmReference)('of SmolLM2 are reproduced, both ways (PEFTJS_SMOLLM2)', async () => {
    const tokenizer = (await readTokenizer(smollm!))!;
    const { cases } = reference(smollmReference!);
    expect(cases.map(({ prompt }) => tokenizer.encode(prompt).ids)).toEqual(cases.map((c) => c.input_ids));
    const decoded = cases.map((c) => tokenizer.decode(c.greedy_ids, { skipSpecialTokens: false }));
    expect(decoded).toEqual(cases.map((c) => c.greedy_text));
  });

  it.skipIf(!smollm || !smollmReference)('of a chat are reproduced by the template (PEFTJS_SMOLLM2)', async () => {
    const tokenizer = (await readTokenizer(smollm!))!;
    const template = (await readChatTemplate(smollm!, tokenizer))!;
    const prompt = template.render([{ role: 'user', content: 'What is 2+2? Answer shortly.' }]);
    const chat = reference(smollmReference!).cases.at(-1)!;
    expect(prompt).toBe(chat.prompt);
    expect(tokenizer.encode(prompt).ids).toEqual(chat.input_ids);
  });
});

describe('chat template', () => {
  const source =
    "{% for m in messages %}\n{{ bos_token }}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}bot:{% endif %}";

  it('renders messages with the special tokens, and strips the lines of its own statements', () => {
    const template = createChatTemplate(source, { bos_token: '<s>' });
    expect(template.render([{ role: 'user', content: 'hi' }])).toBe('<s>user: hi\nbot:');
    expect(template.render([{ role: 'user', content: 'hi' }], { addGenerationPrompt: false })).toBe('<s>user: hi\n');
  });

  it('reports what a template refuses, and a template that is none', () => {
    const refusing = createChatTemplate("{{ raise_exception('only users') }}");
    const code = (run: () => unknown) => {
      try {
        run();
      } catch (error) {
        return isPeftError(error) ? `${error.code} ${error.message}` : error;
      }
      return 'nothing';
    };
    expect(code(() => refusing.render([]))).toMatch(/^DATA_INVALID.*only users/);
    expect(code(() => createChatTemplate('{% for %}'))).toMatch(/^FILE_INVALID/);
  });
});
