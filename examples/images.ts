import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import { createRandom, evaluate, train } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { imageClassification, imageRows, labelsIn, loadModel, openSession } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';

// A vision transformer learns to name patterns from a folder of images, one folder a label. The images are made here:
// stripes and checks of a dark and a light colour.

/** A pattern's two colours: which of them a pixel has. */
const patterns: Readonly<Record<string, (x: number, y: number) => boolean>> = {
  checks: (x, y) => (x + y) % 2 === 0,
  columns: (x) => x % 2 === 0,
  rows: (_, y) => y % 2 === 0,
};

/** A PNG file of 8-bit colours. */
function png(side: number, colour: (x: number, y: number) => readonly number[]): Buffer {
  const lines = Array.from({ length: side }, (_, y) => [
    0,
    ...Array.from({ length: side }, (_, x) => colour(x, y)).flat(),
  ]);
  const chunk = (name: string, data: Buffer): Buffer => {
    const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
    length.writeUInt32BE(data.length);
    check.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, check]);
  };
  const header = Buffer.from([0, 0, 0, side, 0, 0, 0, side, 8, 2, 0, 0, 0]);
  const pixels = deflateSync(Buffer.from(lines.flat()));
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([signature, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]);
}

/** Writes `count` images of each pattern into folders named after them; every seed gives others. */
async function draw(folder: string, count: number, seed: number): Promise<void> {
  for (const [label, isFirst] of Object.entries(patterns)) {
    await mkdir(join(folder, label), { recursive: true });
    for (let i = 0; i < count; i++) {
      const shades = Array.from(createRandom(seed).fork(label, i).uniform([6], 0, 128).data, Number);
      const [dark, light] = [shades.slice(0, 3), shades.slice(3).map((shade) => 255 - shade)];
      const image = png(32, (x, y) => (isFirst(x >> 2, y >> 2) ? dark : light).map(Math.floor));
      await writeFile(join(folder, label, `${i}.png`), image);
    }
  }
}

const folder = await mkdtemp(join(tmpdir(), 'peftjs-images-'));
const [seen, unseen] = [join(folder, 'seen'), join(folder, 'unseen')];
await draw(seen, 40, 1);
await draw(unseen, 20, 2);

const backend = onnxruntime();
const base = fileURLToPath(new URL('fixtures/vision', import.meta.url));
const model = await loadModel(base, { task: imageClassification({ labels: await labelsIn(imageRows(seen)) }) });
const before = await evaluate(model, { data: imageRows(unseen), backend });
const run = train(model, {
  method: lora({ r: 8, targetModules: 'all-linear' }),
  data: imageRows(seen),
  backend,
  lr: 1e-2,
  epochs: 15,
});
const adapter = await run.result();
const after = await evaluate(model, { adapter, data: imageRows(unseen), backend });

console.log(`accuracy on unseen images: ${before.accuracy!.toFixed(2)} before, ${after.accuracy!.toFixed(2)} after`);
if (!(after.accuracy! > 0.9)) throw new Error('The model has not learned the patterns.');

const session = await openSession(model, { backend, adapters: [adapter] });
for (const { label, scores } of await session.predict([join(unseen, 'rows', '0.png'), join(unseen, 'checks', '0.png')]))
  console.log(label, scores!.map((score) => score.toFixed(3)).join(' '));
await session.dispose();
await rm(folder, { recursive: true });
await backend.dispose();
