import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { f32, tensorRef, toF32 } from '@peftjs/core';
import { openSafetensors, writeSafetensors } from '@peftjs/core/files';
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
