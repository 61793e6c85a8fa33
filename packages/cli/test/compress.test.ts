import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { f32, openWeights, tensorRef, toF32 } from '@peftjs/core';
import { openSafetensors, writeSafetensors } from '@peftjs/core/files';
import { expectClose, goldensPath, sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { peft } from './run.js';

const style = fileURLToPath(new URL('../../../examples/fixtures/style', import.meta.url));
const out = (name: string) => join(mkdtempSync(join(tmpdir(), 'peft-compress-')), name);
const configOf = (folder: string) => JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as unknown;

describe('peft compress and peft decompress', () => {
  it('turn an adapter into a file and back into an adapter that PEFT reads', async () => {
    const [file, folder] = [out('style.compeft'), out('adapter')];
    const args = ['--codec', 'compeft', '--density', '0.1', '--alpha', '2', '--scope', 'factor', '--json'];
    const { code, events } = await peft('compress', style, file, ...args);
    expect(code).toBe(0);
    const result = events.at(-1)!;
    expect(result).toMatchObject({ event: 'result', codec: 'compeft', bytes: statSync(file).size });
    expect(result.density).toBeCloseTo(0.1, 2);
    expect(result.ratio).toBeCloseTo(5376 / statSync(file).size, 9); // 2688 numbers in float16
    expect(result.config).toMatchObject({ density: 0.1, alpha: 2, scope: 'factor' });
    expect(events.filter(({ event }) => event === 'tensor')).toHaveLength(8);

    const back = await peft('decompress', file, folder, '--json');
    expect(back.events).toEqual([expect.objectContaining({ event: 'result', parameters: 8, bytes: result.bytes })]);
    expect(configOf(folder)).toEqual(configOf(style));
    const inspected = await peft('inspect', folder, '--json');
    expect(inspected.events[0]).toMatchObject({ kind: 'adapter', digest: back.events[0]!.digest, problems: [] });
  });

  it('take keys in both spellings, and refuse unknown codecs, keys and files', async () => {
    const file = out('x');
    const set = await peft(
      'compress',
      style,
      file,
      '--codec',
      'compeft',
      '--set',
      'density=0.2',
      'rule=official',
      '--json',
    );
    expect(set.events.at(-1)).toMatchObject({ config: { density: 0.2, rule: 'official' } });
    const unknown = await peft('compress', style, file, '--codec', 'zip', '--json');
    expect([unknown.code, unknown.events.at(-1)!.message]).toEqual([2, expect.stringContaining('compeft')]);
    expect((await peft('compress', style, file, '--codec', 'compeft', '--set', 'densty=1')).code).toBe(2);
    expect((await peft('compress', style, file, '--codec', 'compeft', '--base', style)).code).toBe(2);
    const hostile = out('hostile');
    writeFileSync(hostile, `COMPEFT1${'x'.repeat(100)}`);
    const read = await peft('decompress', hostile, out('y'), '--json');
    expect([read.code, read.events.at(-1)!.code]).toEqual([1, 'FILE_INVALID']);
  });

  it('compress what a fine-tune changed', async () => {
    const [base, tuned, file, back] = [out('a.safetensors'), out('b.safetensors'), out('c'), out('d.safetensors')];
    const numbers = (sign: number) =>
      f32(
        [4, 8],
        Float32Array.from({ length: 32 }, (_, i) => i + sign * (i % 3) * 0.25),
      );
    await writeSafetensors(base, new Map([['w', tensorRef(numbers(0))]]));
    await writeSafetensors(tuned, new Map([['w', tensorRef(numbers(-1))]]));
    const args = ['--codec', 'compeft', '--density', '0.3', '--set', 'magnitude=mean', '--base', base, '--json'];
    const made = await peft('compress', tuned, file, ...args);
    expect(made.events.at(-1)).toMatchObject({ event: 'result', density: 9 / 32 });
    expect((await peft('decompress', file, back, '--json')).code).toBe(0);
    const { tensors } = await openSafetensors(back);
    const data = Array.from(toF32(await tensors.get('w')!.read()).data);
    // The nine first of the largest differences: -0.5 at every third element.
    expect(data).toEqual(Array.from({ length: 32 }, (_, i) => (i % 3 === 2 && i < 27 ? -0.5 : 0)));
  });
});

const base = sharedPath('models', 'stories260k')!;
const adapter = goldensPath('methods', 'cases', 'lora-qv-stories260k-nonzero', 'adapter_start')!;

/** Text to measure and to calibrate on. */
function dataFile(): string {
  const path = out('rows.jsonl');
  const texts = ['Once upon a time there was a cat.', 'The dog ran to the park.', 'She had a red ball and a hat.'];
  writeFileSync(path, texts.map((text) => JSON.stringify({ text })).join('\n'));
  return path;
}

async function run(...argv: string[]) {
  const { code, events, stderr } = await peft(...argv, '--json', '--quiet');
  expect(code, JSON.stringify(events.at(-1) ?? stderr)).toBe(0);
  return events;
}
const result = async (...argv: string[]) => (await run(...argv)).at(-1)!;

const lossOf = async (file: string, data: string) => {
  const argv = ['--model', base, '--adapter', file, '--task', 'causal-lm', '--data', data, '--threads', '1'];
  return ((await result('eval', ...argv)).metrics as { loss: number }).loss;
};

describe.skipIf(!base || !adapter)('compressed files (without stories260k and the goldens, set PEFTJS_SHARED)', () => {
  it('are adapters wherever adapters are taken', async () => {
    const [file, folder, again, data] = [out('a.compeft'), out('folder'), out('again'), dataFile()];
    await run('compress', adapter, file, '--codec', 'compeft', '--density', '0.3');
    await run('decompress', file, folder);
    const looked = (await run('inspect', file)).at(-1)!;
    expect(looked).toMatchObject({ kind: 'compressed-adapter', codec: 'compeft', parameters: 10, problems: [] });
    expect(looked.bytes).toBe(statSync(file).size);
    expect(await result('convert', file, again, '--to', 'peft')).toMatchObject({ from: 'compressed', modules: 10 });
    const loss = await lossOf(file, data);
    expect(loss).toBeCloseTo(await lossOf(folder, data), 6);

    const prompt = ['--prompt', 'The cat', '--max-new-tokens', '4', '--threads', '1'];
    const generated = async (path: string) =>
      (await run('generate', '--model', base, '--adapter', path, ...prompt))[0]!.tokens;
    expect(await generated(file)).toEqual(await generated(folder));

    const merged = out('merged');
    await run('merge', '--method', 'attach', '--base', base, '--models', file, '--output', merged);
    const mixed = out('mixed');
    const argv = ['--method', 'task_arithmetic', '--base', base, '--models', `${file}:0.5`, `${folder}:0.5`];
    await run('merge', ...argv, '--output', mixed);
    const path = 'model.layers.0.self_attn.q_proj.weight';
    const [x, y] = await Promise.all(
      [merged, mixed].map(async (at) => (await openWeights(at)).tensors.get(path)!.read()),
    );
    expectClose(path, y!, x!, { relToMax: 1e-6 });
  });

  it('can be read from .gguf and .onnx_adapter as well, also to be compressed', async () => {
    const [gguf, onnx, data] = [out('a.gguf'), out('a.onnx_adapter'), dataFile()];
    await run('convert', adapter, gguf, '--to', 'gguf', '--base', base);
    await run('convert', adapter, onnx, '--to', 'onnx-adapter');
    const loss = await lossOf(adapter, data);
    for (const file of [gguf, onnx]) expect(await lossOf(file, data), file).toBeCloseTo(loss, 5);
    const small = out('small');
    expect(await result('compress', onnx, small, '--codec', 'int8')).toMatchObject({ codec: 'int8' });
    expect(await lossOf(small, data)).toBeCloseTo(loss, 2);
  });

  it('bitdelta learns its scales from logits', async () => {
    const [plain, better, data] = [out('plain'), out('better'), dataFile()];
    await run('compress', adapter, plain, '--codec', 'bitdelta');
    const calibrate = ['--base', base, '--calibrate', data, '--task', 'causal-lm', '--steps', '6', '--lr', '1e-3'];
    const events = await run('compress', adapter, better, '--codec', 'bitdelta', ...calibrate, '--threads', '1');
    const losses = events.flatMap(({ event, loss }) => (event === 'calibrated' ? [loss as number] : []));
    expect(losses).toHaveLength(6);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    expect(events.at(-1)).toMatchObject({ event: 'result', codec: 'bitdelta', bytes: statSync(better).size });
    expect(readFileSync(better).equals(readFileSync(plain))).toBe(false);
  });

  it('deltazip sees activations', async () => {
    const [blind, seeing, data] = [out('blind'), out('seeing'), dataFile()];
    const set = ['--codec', 'deltazip', '--set', 'bits=2', 'structured=false'];
    await run('compress', adapter, blind, ...set);
    await run('compress', adapter, seeing, ...set, '--base', base, '--calibrate', data, '--threads', '1');
    expect(statSync(seeing).size).toBe(statSync(blind).size);
    expect(readFileSync(seeing).equals(readFileSync(blind))).toBe(false);
    expect(Number.isFinite(await lossOf(seeing, data))).toBe(true);
  });

  it('say what a calibration lacks', async () => {
    const refused = async (codec: string, ...more: string[]) =>
      (await peft('compress', adapter, out('no'), '--codec', codec, ...more)).stderr;
    expect(await refused('compeft', '--calibrate', 'x.jsonl', '--base', base)).toContain('compeft takes no data');
    expect(await refused('bitdelta', '--calibrate', 'x.jsonl')).toContain('--base is missing');
    expect(await refused('bitdelta', '--steps', '3')).toContain('only with --calibrate');
    expect(await refused('deltazip', '--calibrate', 'x', '--base', base, '--lr', '1')).toContain('trains nothing');
  });
});
