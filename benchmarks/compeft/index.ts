/**
 * How fast ComPEFT compresses, writes, reads and computes: normal numbers as one dense update, the median of five runs,
 * in parameters a second. PEFTJS_BENCH_PARAMETERS (default 2^24).
 */
import { compeft, cosine, readTernary } from '@peftjs/compeft';
import { compress, createRandom, type Delta, denseTerm, packCompressed, readCompressed, tensorRef } from '@peftjs/core';
import { memorySource } from '@peftjs/core/files';
import { median } from '../measure.js';
import { keep } from '../report.js';

const n = Number(process.env.PEFTJS_BENCH_PARAMETERS ?? 2 ** 24);
const shape = [n / 1024, 1024];
const weights = createRandom(0).normal(shape);
const delta: Delta = { shape: new Map([['w', shape]]), params: new Map([['w', [denseTerm(tensorRef(weights))]]]) };

async function speed(act: () => Promise<unknown>): Promise<number> {
  const seconds: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await act();
    seconds.push((performance.now() - start) / 1000);
  }
  return Math.round(n / median(seconds));
}

const results = [];
for (const density of [0.5, 0.2, 0.1, 0.05, 0.01]) {
  const bound = compeft({ density });
  const made = await compress(bound, delta).result();
  const bytes = Buffer.concat(made.pieces);
  const { adapter } = made;
  const ternary = await readTernary(adapter.delta.params.get('w')![0]!, shape);
  const row = {
    density,
    ratio: made.ratio,
    compress: await speed(() => compress(bound, delta).result()),
    encode: await speed(() => packCompressed(bound.codec, adapter)),
    decode: await speed(() => readCompressed(memorySource(bytes), { codecs: [compeft] })),
    cosine: await speed(async () => cosine(ternary, ternary)),
  };
  const millions = Object.entries(row).map(
    ([key, value]) => `${key} ${value > 1000 ? `${(value / 1e6).toFixed(0)} M/s` : value.toPrecision(4)}`,
  );
  console.error(millions.join(', '));
  results.push(row);
}
keep('compeft', { parameters: n, results });
