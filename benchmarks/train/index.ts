/**
 * Training beside PyTorch + PEFT, interleaved in one run: a fixed step, and one epoch of TREC and SST-2 from command to
 * saved adapter. Without a Python that has peft it prints ours and says so.
 *
 * Needs PEFTJS_SHARED (real model and data). Rounds: PEFTJS_BENCH_ROUNDS (default 3).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sharedPath } from '@peftjs/testkit';
import { build, findPython, type Measured, measure, median } from '../measure.js';
import { beside, keep } from '../report.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const rounds = Number(process.env.PEFTJS_BENCH_ROUNDS ?? 3);
const only = process.env.PEFTJS_BENCH_ONLY?.split(',');

const shared = (...parts: string[]): string => {
  const path = sharedPath(...parts);
  if (!path)
    throw new Error(`This benchmark needs the shared data: set PEFTJS_SHARED to a folder with ${parts.join('/')}.`);
  return path;
};
const model = shared('models', 'all-MiniLM-L6-v2');
const python = await findPython('peft', 'torch', 'transformers');
if (!python) console.error('No Python with peft found (PEFTJS_PYTHON): only ours is timed.');
await build();
const out = mkdtempSync(join(tmpdir(), 'peftjs-bench-'));

const fromSource = ['--import', 'tsx', '--conditions=@peftjs/source'];
const epochArguments = (file: string) => [
  'train',
  '--model',
  model,
  '--task',
  'sequence-classification',
  '--data',
  file,
  '--method',
  'lora',
  '--set',
  'r=8',
  '--set',
  'alpha=16',
  '--target-modules',
  'query,value',
  '--lr',
  '1e-3',
  '--epochs',
  '1',
  '--batch-size',
  '32',
  '--max-length',
  '128',
  '--schedule',
  'linear',
  '--warmup-ratio',
  '0.06',
  '--threads',
  '2',
  '--json',
  '--output',
  join(out, 'ours'),
];

interface Case {
  readonly name: string;
  readonly ours: () => Promise<Measured>;
  readonly peer: () => Promise<Measured>;
  /** The time that counts: the whole process by default. */
  readonly seconds?: (m: Measured) => number;
}

const perStep = (m: Measured) =>
  median((JSON.parse(m.stdout.trim().split('\n').at(-1)!) as { seconds: number[] }).seconds.slice(2));
const epoch = (name: string): Case => {
  const file = shared('data', name, 'train.tsv');
  return {
    name: `${name}-epoch`,
    ours: () => measure(process.execPath, [here('../peft.mjs'), ...epochArguments(file)]),
    peer: () => measure(python!, [here('peer.py'), 'epoch', model, file, join(out, 'peer')]),
  };
};
const cases: Case[] = [
  {
    name: 'step',
    ours: () => measure(process.execPath, [...fromSource, here('ours.ts'), model, '12']),
    peer: () => measure(python!, [here('peer.py'), 'step', model, '12']),
    seconds: perStep,
  },
  epoch('trec'),
  epoch('sst2'),
];

const results = [];
for (const { name, ours, peer, seconds = (m: Measured) => m.seconds } of cases) {
  if (only && !only.includes(name)) continue;
  const [mine, theirs]: [Measured[], Measured[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    mine.push(await ours());
    if (python) theirs.push(await peer());
    console.error(
      `${name} ${round + 1}/${rounds}: ours ${seconds(mine.at(-1)!).toFixed(2)} s${python ? `, PEFT ${seconds(theirs.at(-1)!).toFixed(2)} s` : ''}`,
    );
  }
  results.push({ name, rounds, ...beside(mine, theirs, seconds) });
}
rmSync(out, { recursive: true });

console.table(
  results.map((r) => ({
    case: r.name,
    'ours s': r.seconds.ours,
    'PEFT s': r.seconds.peer,
    time: r.seconds.ratio,
    memory: r.pssBytes.ratio,
    anonymous: r.anonymousBytes.ratio,
  })),
);
keep('train', { results });
