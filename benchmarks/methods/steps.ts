/**
 * A step of every recipe beside PyTorch: 16 rows of 128 tokens, AdamW, two threads; time of a step (the median of the
 * last half, where a method has come to its last phase) and the memory of the process. The peers are LoRA r 8 with PEFT
 * and full fine-tuning with PyTorch, in turn with ours in one run.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findPython, type Measured, measure, median } from '../measure.js';
import { keep } from '../report.js';
import { eventsOf, trainArguments } from './command.js';
import type { Recipe } from './recipes.js';

const peerScript = fileURLToPath(new URL('../train/peer.py', import.meta.url));
const steps = 16;

interface Seen {
  readonly seconds: number;
  readonly anonymousBytes: number | undefined;
}

const ofLastHalf = (seconds: readonly number[]): number => median(seconds.slice(seconds.length >> 1));

async function ours(model: string, recipe: Recipe, folder: string): Promise<Seen> {
  const data = join(folder, 'rows.jsonl');
  const row = (label: number) => JSON.stringify({ text: 'a film of many words '.repeat(40), label: String(label) });
  writeFileSync(data, Array.from({ length: 16 }, (_, i) => `${row(i % 2)}\n`).join(''));
  const output = join(folder, 'adapter');
  const size = ['--steps', String(steps), '--batch-size', '16', '--threads', '2'];
  const command = trainArguments(model, recipe, '--data', data, ...size, '--output', output);
  const { stdout, anonymous } = await measure(process.execPath, command);
  const events = eventsOf<{ event: string; seconds: number }>(stdout);
  rmSync(output, { recursive: true });
  const seconds = ofLastHalf(events.filter(({ event }) => event === 'step').map((event) => event.seconds));
  return { seconds, anonymousBytes: anonymous };
}

async function peer(python: string, model: string, what: 'lora' | 'full'): Promise<Seen> {
  const run: Measured = await measure(python, [peerScript, 'step', model, String(steps), what]);
  const { seconds } = JSON.parse(run.stdout.trim().split('\n').at(-1)!) as { seconds: number[] };
  return { seconds: ofLastHalf(seconds), anonymousBytes: run.anonymous };
}

/** Measures every recipe `rounds` times and keeps the medians as a report; nothing where there are no rounds. */
export async function timeSteps(model: string, recipes: readonly Recipe[], rounds: number): Promise<void> {
  if (rounds === 0) return;
  const python = await findPython('peft', 'torch', 'transformers');
  if (!python) console.error('No Python with peft found (PEFTJS_PYTHON): only ours is timed.');
  const folder = mkdtempSync(join(tmpdir(), 'peftjs-method-steps-'));
  const peers = python ? (['full', 'lora'] as const) : [];
  const cases = [
    ...peers.map((what) => ({ name: `PyTorch ${what}`, step: () => peer(python!, model, what) })),
    ...recipes.map((recipe) => ({ name: recipe.name, step: () => ours(model, recipe, folder) })),
  ];
  const seen = cases.map((): Seen[] => []);
  try {
    for (let round = 0; round < rounds; round++)
      for (const [i, { name, step }] of cases.entries()) {
        seen[i]!.push(await step());
        console.error(`${round + 1}/${rounds} ${name}: ${seen[i]!.at(-1)!.seconds.toFixed(3)} s`);
      }
  } finally {
    rmSync(folder, { recursive: true });
  }
  const full = python ? seen[0]! : undefined;
  const secondsOf = (runs: readonly Seen[]) => median(runs.map(({ seconds }) => seconds));
  const bytesOf = (runs: readonly Seen[]) => median(runs.map(({ anonymousBytes }) => anonymousBytes ?? Number.NaN));
  const ratio = (a: number, b: number | undefined) => b && Number((a / b).toFixed(3));
  const results = cases.map(({ name }, i) => ({
    recipe: name,
    rounds,
    seconds: secondsOf(seen[i]!),
    anonymousBytes: bytesOf(seen[i]!),
    timeOfFull: ratio(secondsOf(seen[i]!), full && secondsOf(full)),
    memoryOfFull: ratio(bytesOf(seen[i]!), full && bytesOf(full)),
  }));
  keep('method-steps', { results });
}
