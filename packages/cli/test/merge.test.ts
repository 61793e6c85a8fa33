import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import {
  builtinKinds,
  createRandom,
  f32,
  indexRef,
  openWeights,
  readAdapter,
  scalingTerm,
  sparseTerm,
  type Term,
  tensorRef,
  writeSharded,
} from '@peftjs/core';
import { causalLm, loadModel } from '@peftjs/models';
import { goldensPath, sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { mergedTensors, writeMerged } from '../src/merge-attach.js';
import { peft, start } from './run.js';

const out = (name: string) => join(mkdtempSync(join(tmpdir(), 'peft-')), name);

/** A checkpoint of two tensors. */
async function model(name: string, seed: number, rows = 6): Promise<string> {
  const path = out(name);
  mkdirSync(path, { recursive: true });
  const rng = createRandom(seed);
  const tensor = (key: string, shape: readonly number[]) => [key, tensorRef(rng.fork(key).normal(shape))] as const;
  await writeSharded(path, new Map([tensor('layer.weight', [rows, 4]), tensor('norm.weight', [4])]));
  writeFileSync(join(path, 'config.json'), JSON.stringify({ torch_dtype: 'float32' }));
  return path;
}

const numbers = async (path: string, name = 'layer.weight') => [
  ...((await (await openWeights(path)).tensors.get(name)!.read()).data as Float32Array),
];

describe('peft merge', () => {
  it('merges checkpoints with a method, weights and keys; writes a report', async () => {
    const [a, b] = [await model('a', 1), await model('b', 2)];
    const [output, report] = [out('merged'), out('report.html')];
    const argv = ['merge', '--method', 'linear', '--models', `${a}:3`, `${b}:1`, '--output', output, '--json'];
    const { code, events } = await peft(...argv);
    expect(code).toBe(0);
    expect(events[0]).toMatchObject({
      event: 'start',
      method: 'linear',
      models: ['a', 'b'],
      tensors: 2,
      parameters: 28,
    });
    expect(events[0]).toHaveProperty('estimated_bytes');
    expect(events.at(-1)).toMatchObject({ event: 'result', method: 'linear', tensors: 2, output });
    const [x, y, got] = [await numbers(a), await numbers(b), await numbers(output)];
    got.forEach((value, i) => {
      expect(value).toBe(Math.fround(0.75 * x[i]! + 0.25 * y[i]!));
    });
    expect(existsSync(join(output, 'config.json'))).toBe(true);
    const withReport = ['--method', 'ties', '--base', a, '--models', b, '--set', 'density=0.5', '--report', report];
    expect((await peft('merge', ...withReport, '--output', out('ties'))).code).toBe(0);
    expect(readFileSync(report, 'utf8')).toContain('<svg');
  });

  it('does what a mergekit recipe says; paths may be relative to the recipe', async () => {
    const [base, a, b] = [await model('base', 0), await model('a', 1), await model('b', 2)];
    const folder = dirname(base);
    const recipe = join(folder, 'recipe.yml');
    writeFileSync(
      recipe,
      `merge_method: dare_ties\nbase_model: base\nmodels:\n  - { model: ${a}, parameters: { weight: 0.5 } }\n  - { model: ${b}, parameters: { weight: 0.5 } }\nparameters: { density: 0.5 }\nout_dtype: bfloat16\n`,
    );
    const outputs = [out('x'), out('y')];
    for (const output of outputs) {
      const { code, events } = await peft('merge', recipe, output, '--json', '--seed', '4');
      expect(code).toBe(0);
      expect(events.at(-1)).toMatchObject({ event: 'result', method: 'dare_ties', tensors: 2 });
    }
    const [x, y] = outputs.map((output) => readFileSync(join(output, 'model.safetensors')));
    expect(x!.equals(y!)).toBe(true);
    expect((await openWeights(outputs[0]!)).tensors.get('layer.weight')!.dtype).toBe('bf16');
  });

  /** A command that scores a checkpoint by its first number: the nearer to `wanted`, the better. */
  function scorer(wanted: number): string {
    const program = out('score.mjs');
    const text = `import { readFileSync } from 'node:fs';
      const bytes = readFileSync(process.argv[2] + '/model.safetensors');
      const start = 8 + Number(bytes.readBigUInt64LE(0));
      const header = JSON.parse(bytes.subarray(8, start).toString());
      const first = bytes.readFloatLE(start + header['layer.weight'].data_offsets[0]);
      console.log('first number', first);
      console.log('score', -Math.abs(first - ${wanted}));`;
    writeFileSync(program, text);
    return `node ${program} {}`;
  }

  it('cooks a greedy soup by the scores that a command prints', async () => {
    const models = [await model('a', 1), await model('b', 2), await model('c', 3)];
    const first = await Promise.all(models.map(async (path) => (await numbers(path))[0]!));
    const output = out('soup');
    const wanted = (first[0]! + first[2]!) / 2;
    const argv = ['merge', '--method', 'greedy_soup', '--models', ...models, '--output', output];
    const { code, events } = await peft(...argv, '--score', scorer(wanted), '--json');
    expect(code).toBe(0);
    const result = events.at(-1) as { ingredients: string[]; individual: number[]; trials: number; score: number };
    expect(result.individual).toHaveLength(3);
    expect(result.trials).toBe(5);
    expect(result.score).toBeGreaterThanOrEqual(Math.max(...result.individual));
    const used = models.flatMap((path, i) => (result.ingredients.includes(basename(path)) ? [first[i]!] : []));
    const mean = used.reduce((a, b) => a + b, 0) / used.length;
    expect((await numbers(output))[0]).toBeCloseTo(mean, 6);
    expect(readdirSync(dirname(output))).toEqual(['soup']);
  });

  it('learns shares of whole models by scores', async () => {
    const models = [await model('a', 1), await model('b', 2)];
    const [x, y] = await Promise.all(models.map(async (path) => (await numbers(path))[0]!));
    const output = out('soup');
    const argv = ['merge', '--method', 'learned_soup', '--models', ...models, '--output', output, '--set', 'steps=3'];
    const { code, events } = await peft(...argv, '--score', scorer(y!), '--json');
    expect(code).toBe(0);
    const { shares, scores, trials } = events.at(-1) as { shares: number[]; scores: number[]; trials: number };
    expect(trials).toBe(9);
    expect(shares[1]).toBeGreaterThan(0.5);
    expect(scores.at(-1)).toBeGreaterThan(scores[0]!);
    expect((await numbers(output))[0]).toBeCloseTo(shares[0]! * x! + shares[1]! * y!, 6);
  });

  it('says what is wrong with a soup or its score', async () => {
    const a = await model('a', 1);
    const argv = ['merge', '--method', 'greedy_soup', '--output', out('no'), '--models'];
    expect(await peft(...argv, `${a}:2`)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/weights[\s\S]*--score/),
    });
    const broken = await peft(...argv, a, '--score', 'echo no number', '--json');
    expect(broken.events.at(-1)).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('"') });
    const failed = await peft(...argv, a, '--score', 'exit 3', '--json');
    expect(failed.events.at(-1)!.message).toContain('ended with 3');
    const wrong = await peft(...argv, a, '--score', 'echo 1', '--set', 'accept=maybe');
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('accept') });
    const linear = await peft('merge', '--method', 'linear', '--models', a, '--output', out('no'), '--score', 'echo 1');
    expect(linear).toMatchObject({ code: 2, stderr: expect.stringContaining('greedy_soup') });
  });

  it('refuses a recipe that asks for more, all of it by name', async () => {
    const recipe = out('recipe.yml');
    writeFileSync(recipe, 'merge_method: linear\nmodels: [{ model: a }]\nchat_template: chatml\nmodules: {}\n');
    const { code, events } = await peft('merge', recipe, out('no'), '--json');
    expect(code).toBe(1);
    expect(events.at(-1)).toMatchObject({ event: 'error', code: 'CONFIG_UNSUPPORTED' });
    for (const key of ['chat_template', 'modules']) expect(events.at(-1)!.message).toContain(key);
    const twice = await peft('merge', recipe, out('no'), '--method', 'ties');
    expect(twice).toMatchObject({ code: 2, stderr: expect.stringContaining('--method') });
  });

  it('names everything that does not fit', async () => {
    const [a, b] = [await model('a', 1), await model('b', 2, 5)];
    const { code, events } = await peft(
      'merge',
      '--method',
      'linear',
      '--models',
      a,
      b,
      '--output',
      out('no'),
      '--json',
    );
    expect(code).toBe(1);
    expect(events.at(-1)).toMatchObject({ code: 'DELTA_CONFLICT', message: expect.stringContaining('[5,4] in b') });
  });

  it('a wrong key of a method is exit code 2', async () => {
    const a = await model('a', 1);
    const argv = ['merge', '--method', 'ties', '--base', a, '--models', a, '--set', 'densty=1', '--output', out('no')];
    const { code, stderr } = await peft(...argv);
    expect(code).toBe(2);
    expect(stderr).toContain('densty');
  });

  it('the program itself merges, in threads', async () => {
    const [a, b] = [await model('a', 1), await model('b', 2)];
    const output = out('merged');
    const argv = ['--method', 'linear', '--models', a, b, '--output', output, '--threads', '2', '--json'];
    const { code, events } = await start(['merge', ...argv], () => {});
    expect(code).toBe(0);
    expect(events[0]).toMatchObject({ event: 'start', threads: 2 });
    expect(await numbers(output)).toHaveLength(24);
  });

  const adapters = goldensPath('merge', 'adapters');
  it.skipIf(!adapters)('merges adapters without their base, by their factors', async () => {
    const output = out('adapter');
    const models = ['lora_a:0.5', 'lora_b:0.5'].map((name) => join(adapters!, name));
    const { code, events } = await peft(
      'merge',
      '--method',
      'cat',
      '--models',
      ...models,
      '--output',
      output,
      '--json',
    );
    expect(events.at(-1)).toMatchObject({ event: 'result', method: 'cat' });
    expect(code).toBe(0);
    expect(readdirSync(output)).toContain('adapter_model.safetensors');
  });

  it.skipIf(!adapters)('merges adapters as updates, and writes an adapter of a rank', async () => {
    const output = out('adapter');
    const models = ['lora_a', 'lora_b'].map((name) => join(adapters!, name));
    const argv = ['--method', 'ties', '--set', 'density=0.5', '--models', ...models, '--as', 'adapter', '--rank', '4'];
    const { code, events } = await peft('merge', ...argv, '--output', output, '--json');
    expect(events.at(-1)).toMatchObject({ event: 'result', method: 'ties', discarded: expect.any(Number) });
    expect(code).toBe(0);
    expect((await peft('inspect', output, '--json')).events.at(-1)).toMatchObject({ ranks: [4] });
  });

  const stories = sharedPath('models', 'stories260k');
  const tuned = goldensPath('methods', 'cases', 'lora-qv-stories260k-nonzero', 'adapter_start');
  it.skipIf(!stories || !tuned)('an adapter added to its base is what attach makes of it', async () => {
    const [attached, added] = [out('attached'), out('added')];
    const argv = (method: string, output: string) => [
      ...['merge', '--method', method, '--base', stories!, '--models', tuned!, '--output', output, '--json'],
    ];
    expect((await peft(...argv('attach', attached))).code).toBe(0);
    expect((await peft(...argv('task_arithmetic', added))).code).toBe(0);
    const [a, b] = [await openWeights(attached), await openWeights(added)];
    expect([...b.tensors.keys()].sort()).toEqual([...a.tensors.keys()].sort());
    for (const name of a.tensors.keys()) {
      const [x, y] = [await numbers(attached, name), await numbers(added, name)];
      const off = x.reduce((most, value, i) => Math.max(most, Math.abs(value - y[i]!)), 0);
      expect(off, name).toBeLessThan(1e-6);
    }
  });

  it.skipIf(!stories)('leaves a head tied that changes with the embedding, and unties one that does not', async () => {
    const base = await loadModel(stories!, { task: causalLm() });
    const [[head, table]] = Object.entries(base.tied) as [[string, string]];
    const { shape } = base.parameters.get(table)!;
    const tensor = (...values: number[]) => tensorRef(f32([values.length], values));
    const entry = sparseTerm({ indices: indexRef([5], shape[0]! * shape[1]!), values: tensor(1) });
    const doubled = scalingTerm(tensor(...new Array<number>(shape[1]!).fill(2)), { side: 'output', transposed: true });
    const mergedWith = (term: Term) => {
      const delta = { shape: new Map([[table, shape]]), params: new Map([[table, [term]]]) };
      return mergedTensors(base, { delta, replaced: new Map(), digest: '' }, { kinds: builtinKinds });
    };
    const tied = await mergedWith(entry);
    expect([tied.untied, tied.tensors.has(head)]).toEqual([false, false]);
    const apart = await mergedWith(doubled);
    expect(apart.untied).toBe(true);
    const [before, own] = [await base.parameters.get(head)!.read(), await apart.tensors.get(head)!.read()];
    expect(own.data).toEqual(before.data);
  });

  it.skipIf(!stories || !tuned)('writes a merged model as a whole, or leaves the folder as it was', async () => {
    const base = await loadModel(stories!, { task: causalLm() });
    const adapter = await readAdapter(tuned!, { warn() {} });
    const folder = out('whole');
    mkdirSync(folder);
    for (const file of ['model-00001-of-00002.safetensors', 'config.json', 'notes.txt'])
      writeFileSync(join(folder, file), 'old');
    const left = () => readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), 'utf8')]);
    const before = left();
    const signal = AbortSignal.abort(new Error('left'));
    await expect(writeMerged(base, adapter, folder, { kinds: builtinKinds, signal })).rejects.toThrow('left');
    expect(left()).toEqual(before);
    expect(readdirSync(dirname(folder))).toEqual(['whole']);
    await writeMerged(base, adapter, folder, { kinds: builtinKinds });
    const files = readdirSync(folder);
    expect(files).toEqual(expect.arrayContaining(['config.json', 'model.safetensors', 'notes.txt']));
    expect(files).not.toContain('model-00001-of-00002.safetensors');
    expect(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))).toEqual(base.config.raw);
  });
});
