import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { isSaved, modulePaths, patternLookup } from '../src/adapter/patterns.js';
import {
  coreVersion,
  isPeftError,
  matchModules,
  matchTargets,
  pythonRegex,
  resolveConfig,
  type Target,
} from '../src/index.js';

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return isPeftError(error) ? error.code : String(error);
  }
  return 'nothing thrown';
};

const messageOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return '';
};

const paths = [
  'model.embed_tokens',
  ...[0, 1, 2].flatMap((i) =>
    ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => `model.layers.${i}.self_attn.${name}`),
  ),
  ...[0, 1, 2].flatMap((i) => ['up_proj', 'down_proj'].map((name) => `model.layers.${i}.mlp.${name}`)),
  'lm_head',
];

const select = (rules: Parameters<typeof matchModules>[1]) => matchModules(paths, rules).matched;

describe('regular expressions of PEFT', () => {
  it.each([
    ['a\\Z', 'a', true],
    ['(?i)Q_PROJ', 'q_proj', true],
    ['(?P<name>a)b', 'ab', true],
    ['a{,2}', 'aa', true],
    ['a{,2}', 'aaa', false],
    ['[[:]a', ':a', true],
    ['[]a]+', ']a', true],
    ['[^]a]', ']', false],
    ['\\d+\\.\\w+', '12.q_1', true],
    ['q_proj', 'xq_proj', false],
    ['.*\\.(0|1)\\..*(q|v)_proj', 'model.layers.1.self_attn.v_proj', true],
    ['q|v', 'vv', false],
    ['', '', true],
  ])('%s fully matches %s: %s', (pattern, text, expected) => {
    expect(pythonRegex(pattern, 'targetModules').fullMatch(text)).toBe(expected);
  });

  it('matches from the start with groups', () => {
    expect(pythonRegex('(a)(b)?', 'x').match('ac')).toEqual(['a', 'a', undefined]);
    expect(pythonRegex('b', 'x').match('ab')).toBeUndefined();
  });

  it.each([
    ['(?=a)b', 'lookaround'],
    ['(?!a)b', 'lookaround'],
    ['(?<=a)b', 'lookaround'],
    ['(?<!a)b', 'lookaround'],
    ['(a)\\1', 'back-reference'],
    ['(?P<x>a)(?P=x)', 'back-reference'],
    ['a++', 'possessive'],
    ['a{2,}+', 'possessive'],
    ['(?>a)b', 'atomic'],
    ['(a)?(?(1)b|c)', 'conditional'],
    ['(?#c)a', 'comment'],
    ['(?x)a b', 'flags'],
    ['\\pL', 'escape'],
    ['\\Qa\\E', 'escape'],
    ['\\za', 'escape'],
    ['(?<name>a)', 'Python does not have'],
  ])('refuses %s by name (%s)', (pattern, named) => {
    expect(codeOf(() => pythonRegex(pattern, 'targetModules'))).toBe('CONFIG_UNSUPPORTED');
    expect(messageOf(() => pythonRegex(pattern, 'targetModules'))).toContain(named);
  });

  it.each(['(q_proj', '[a', '*a', 'a)'])('refuses the broken %s', (pattern) => {
    expect(codeOf(() => pythonRegex(pattern, 'targetModules'))).toBe('CONFIG_INVALID');
  });

  it('stays linear where a backtracking engine does not end', () => {
    const started = performance.now();
    expect(pythonRegex('(model|model)*(([a-z_.0-9]+)+)+X', 'x').fullMatch('model.layers.'.repeat(200))).toBe(false);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe('target rules of PEFT', () => {
  it('take names as the end of a path', () => {
    expect(select({ targetModules: ['q_proj'] })).toHaveLength(3);
    expect(select({ targetModules: ['proj'] })).toEqual([]);
    expect(select({ targetModules: ['layers.1.self_attn.q_proj', 'lm_head'] })).toEqual([
      'model.layers.1.self_attn.q_proj',
      'lm_head',
    ]);
  });

  it('take one text as an expression for whole paths', () => {
    expect(select({ targetModules: '.*\\.1\\..*_proj' })).toHaveLength(6);
    expect(select({ targetModules: 'q_proj' })).toEqual([]);
  });

  it('leave out what is excluded or saved in full', () => {
    expect(select({ targetModules: ['q_proj'], excludeModules: ['layers.0.self_attn.q_proj'] })).toHaveLength(2);
    expect(select({ targetModules: ['q_proj'], excludeModules: '.*[12].*' })).toEqual([
      'model.layers.0.self_attn.q_proj',
    ]);
    expect(select({ targetModules: ['q_proj', 'up_proj'], modulesToSave: ['self_attn'] })).toEqual([
      'model.layers.0.mlp.up_proj',
      'model.layers.1.mlp.up_proj',
      'model.layers.2.mlp.up_proj',
    ]);
    expect(select({ targetModules: ['lm_head', 'q_proj'], modulesToSave: ['head'] })).toContain('lm_head');
  });

  it('take layers by number, but a whole path whatever its layer', () => {
    expect(select({ targetModules: ['q_proj'], layersToTransform: [1, 2] })).toHaveLength(2);
    expect(select({ targetModules: ['q_proj'], layersToTransform: 0, layersPattern: 'layers' })).toHaveLength(1);
    expect(select({ targetModules: ['q_proj'], layersToTransform: 0, layersPattern: ['blocks'] })).toEqual([]);
    expect(select({ targetModules: ['lm_head', 'q_proj'], layersToTransform: [1] })).toEqual([
      'model.layers.1.self_attn.q_proj',
      'lm_head',
    ]);
    const experts = ['m.layers.0.experts.1.up', 'm.layers.1.experts.0.up'];
    expect(matchModules(experts, { targetModules: ['up'], layersToTransform: [1] }).matched).toEqual([experts[1]]);
  });

  it('report every entry that selected nothing', () => {
    const { unmatched } = matchModules(paths, {
      targetModules: ['q_proj', 'gate_proj'],
      excludeModules: ['c_fc'],
      layersToTransform: [0, 9],
    });
    expect(unmatched).toEqual([
      { rule: 'targetModules', entry: 'gate_proj' },
      { rule: 'excludeModules', entry: 'c_fc' },
      { rule: 'layersToTransform', entry: '9' },
    ]);
  });

  const target = (path: string, kind: Target['kind'] = 'linear', head = false): Target => ({
    kind,
    path,
    in: 1,
    out: 1,
    parameters: {},
    head,
  });
  const targets = [
    target('emb', 'embedding'),
    target('a.q_proj'),
    target('a.fc', 'conv1d'),
    target('head', 'linear', true),
    target('norm', 'vector'),
  ];

  it('understand all-linear as every matrix but embeddings and heads', () => {
    const { report } = matchTargets(targets, { targetModules: 'all-linear' });
    expect(report.matched).toEqual(['a.q_proj', 'a.fc']);
  });

  it('fail with near names when nothing is selected', () => {
    const run = () => matchTargets(targets, { targetModules: ['qproj'] });
    expect(codeOf(run)).toBe('TARGETS_UNMATCHED');
    expect(messageOf(run)).toContain('near: q_proj');
  });

  it('read patterns as PEFT does: first entry whose key ends the path', () => {
    const lookup = patternLookup({ foo: 1, '^bar.foo': 2, 'x.*': 3 }, 'rankPattern');
    expect(lookup('bar.foo')).toEqual({ key: 'foo', value: 1 });
    expect(lookup('foo')?.value).toBe(1);
    expect(lookup('xfoo')?.value).toBe(3);
    expect(lookup('foo.baz')).toBeUndefined();
    const anchored = patternLookup({ '^foo': 1, 'module.foo': 2 }, 'rankPattern');
    expect([anchored('foo')?.value, anchored('a.foo'), anchored('a.module.foo')?.value]).toEqual([1, undefined, 2]);
    expect(patternLookup({ 'a|b': 4 }, 'rankPattern')('m.b')?.value).toBe(4);
  });

  it('find saved modules by the end of their path, dot or not', () => {
    expect(modulePaths(['a.b.weight', 'a.c.bias'])).toEqual(['a.b', 'a', 'a.c']);
    expect([isSaved('my_score', ['score']), isSaved('score.x', ['score'])]).toEqual([true, false]);
  });
});

describe('configuration', () => {
  const method = {
    name: 'demo',
    config: z.strictObject({ r: z.number().int().positive().default(8), alpha: z.number().default(8) }),
    fileNames: { alpha: 'demo_alpha', dropout: 'demo_dropout' },
  };

  it('fills in defaults', () => {
    expect(resolveConfig(method)).toEqual({
      targetModules: 'all-linear',
      modulesToSave: [],
      dropout: 0,
      bias: 'none',
      r: 8,
      alpha: 8,
    });
  });

  it('understands the names of files', () => {
    expect(
      resolveConfig(method, { demo_alpha: 2, target_modules: ['q'], demo_dropout: 0.1, bias: 'demo_only' }),
    ).toMatchObject({
      alpha: 2,
      targetModules: ['q'],
      dropout: 0.1,
      bias: 'demo_only',
    });
  });

  it('lists everything wrong at once, with what was given and what was probably meant', () => {
    const run = () =>
      resolveConfig(method, { r: '4', dropout: 1, target_module: ['q'], alpha: 1, demo_alpha: 2, bias: 'lora_only' });
    expect(codeOf(run)).toBe('CONFIG_INVALID');
    const message = messageOf(run);
    for (const part of [
      'r: ',
      '"4"',
      'dropout: ',
      'target_module',
      'did you mean targetModules',
      'alpha is given twice',
      'bias: ',
    ])
      expect(message).toContain(part);
  });

  it('refuses layers together with an expression, as PEFT does', () => {
    expect(messageOf(() => resolveConfig(method, { targetModules: '.*q', layersToTransform: 1 }))).toContain(
      'layersToTransform',
    );
    expect(messageOf(() => resolveConfig(method, { targetModules: ['q'], layersPattern: 'h' }))).toContain(
      'layersPattern',
    );
  });
});

describe('plugin mark', () => {
  it('carries the version of the package', () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(coreVersion).toBe(version);
  });
});
