import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openSafetensors } from '@peftjs/core/files';
import { expectClose, goldensPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { peft } from './run.js';

const base = fileURLToPath(new URL('../../../examples/fixtures/vision', import.meta.url));

/** PNG files of 4x4 pixels. */
const files = {
  red: 'iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAFElEQVR42mO8IyfCAANMDEgANwcANogBFi4AsUMAAAAASUVORK5CYII=',
  green: 'iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAFElEQVR42mMUOaHBAANMDEgANwcAM7gBDLBgbjcAAAAASUVORK5CYII=',
};

/** A folder with one folder of images for each colour, and a table of them. */
function images(): { folder: string; table: string } {
  const folder = mkdtempSync(join(tmpdir(), 'peft-images-'));
  const lines = ['picture,colour'];
  for (const [colour, png] of Object.entries(files)) {
    mkdirSync(join(folder, colour));
    for (let i = 0; i < 4; i++) {
      writeFileSync(join(folder, colour, `${i}.png`), Buffer.from(png, 'base64'));
      lines.push(`${colour}/${i}.png,${colour}`);
    }
  }
  const table = join(folder, 'images.csv');
  writeFileSync(table, lines.join('\n'));
  return { folder, table };
}

const command = (name: string, data: string, ...more: string[]) =>
  peft(name, '--model', base, '--task', 'image-classification', '--data', data, '--json', '--threads', '1', ...more);

const train = (data: string, output: string, ...more: string[]) => {
  const method = ['--method', 'lora', '--set', 'r=2', '--target-modules', 'query,value', '--lr', '2e-2'];
  return command('train', data, ...method, '--steps', '12', '--batch-size', '4', '--output', output, ...more);
};

const columns = ['--columns', 'image=picture,label=colour'];

describe('image classification', () => {
  it('trains on a table of paths, and eval and merge agree', async () => {
    const { folder, table } = images();
    const [adapter, merged] = [join(folder, 'adapter'), join(folder, 'merged')];
    const trained = await train(table, adapter, ...columns, '--eval-data', table);
    expect(trained.code).toBe(0);
    expect(trained.events.at(-1)).toMatchObject({ event: 'result', steps: 12, metrics: { accuracy: 1, f1: 1 } });
    const sidecar = JSON.parse(readFileSync(join(adapter, 'peftjs.json'), 'utf8'));
    expect(sidecar.task).toEqual({ name: 'image-classification', labels: ['green', 'red'] });

    const evaluated = await command('eval', table, ...columns, '--adapter', adapter);
    expect(evaluated.events.at(-1)).toMatchObject({ event: 'result', rows: 8, metrics: { accuracy: 1 } });
    const attach = ['--method', 'attach', '--base', base, '--models', adapter, '--output', merged, '--json'];
    expect((await peft('merge', ...attach)).code).toBe(0);
    const config = JSON.parse(readFileSync(join(merged, 'config.json'), 'utf8'));
    expect(config).toMatchObject({ architectures: ['ViTForImageClassification'], id2label: { 0: 'green', 1: 'red' } });
    const whole = await peft('eval', '--model', merged, '--task', 'image-classification', '--data', folder, '--json');
    expect(whole.events.at(-1)).toMatchObject({ event: 'result', rows: 8, metrics: { accuracy: 1 } });
  }, 60_000);

  it('trains on a folder, and names an image that cannot be read', async () => {
    const { folder } = images();
    const { code, events } = await train(folder, join(folder, 'adapter'));
    expect(code).toBe(0);
    expect(events.at(-1)).toMatchObject({ event: 'result', steps: 12 });
    writeFileSync(join(folder, 'red', 'torn.png'), Buffer.from(files.red, 'base64').subarray(0, 50));
    const torn = await train(folder, join(folder, 'other'));
    expect(torn.code).toBe(1);
    expect(torn.events.at(-1)).toMatchObject({ event: 'error', code: 'FILE_INVALID' });
    expect(String(torn.events.at(-1)!.message)).toMatch(/torn\.png" of row \d+ is a broken PNG file/);
  }, 60_000);

  it('names every image that is not there or of another format before it begins', async () => {
    const { folder } = images();
    writeFileSync(join(folder, 'gif.png'), 'GIF89a');
    const table = join(folder, 'wrong.csv');
    writeFileSync(table, 'image,label\nred/0.png,red\nred/none.png,red\ngif.png,green\n');
    const { code, events } = await train(table, join(folder, 'adapter'));
    expect(code).toBe(1);
    expect(events).toEqual([expect.objectContaining({ event: 'error', code: 'DATA_INVALID' })]);
    expect(String(events[0]!.message)).toMatch(
      /none\.png" of row 1 does not exist[\s\S]*gif\.png" of row 2 is no image/,
    );
  }, 60_000);

  const golden = goldensPath('methods', 'cases', 'lora-qv-tiny-vit-nonzero');

  it.skipIf(!golden)('forward gives the loss and gradients that PEFT gives', async () => {
    const output = join(mkdtempSync(join(tmpdir(), 'peft-')), 'raw.safetensors');
    const given = ['--adapter', join(golden!, 'adapter_start'), '--inputs', join(golden!, 'inputs.safetensors')];
    const model = goldensPath('methods', 'models', 'tiny-vit')!;
    expect((await peft('forward', '--model', model, ...given, '--output', output, '--loss', '--grads')).code).toBe(0);
    const [got, expected] = await Promise.all([output, join(golden!, 'expected.safetensors')].map(openTensors));
    const names = [...expected!.keys()].filter((name) => name.startsWith('grad/')).map((name) => [name, name]);
    for (const [name, reference] of [...names, ['loss', 'loss/start'], ['logits', 'logits/start']])
      expectClose(name!, await got!.get(name!)!.read(), await expected!.get(reference!)!.read(), {
        relToMax: 2.2e-5, // the tolerance the case suggests
      });
  });
});

const openTensors = async (path: string) => (await openSafetensors(path)).tensors;
