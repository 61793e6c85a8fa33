/**
 * A training step on every backend that can run here: LoRA on the language model of the demo, batches of eight rows,
 * one thread. In one process and interleaved, a step of each in turn; the first ones, which compile, are left out.
 *
 * PEFTJS_BENCH_ROUNDS (default 5 measured steps of each), PEFTJS_BENCH_ONLY (names of backends, as in the report).
 */
import { fileURLToPath } from 'node:url';
import { type Backend, type Run, type TrainEvent, train } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { causalLm, loadModel } from '@peftjs/models';
import { skills } from '../../examples/demo/skills.js';
import { backendsHere, disposeAll } from '../../scripts/backends/present.js';
import { median } from '../measure.js';
import { keep } from '../report.js';

const rounds = Number(process.env.PEFTJS_BENCH_ROUNDS ?? 5);
const only = process.env.PEFTJS_BENCH_ONLY?.split(',');
const warmup = 2;
const batchSize = 8;

const base = fileURLToPath(new URL('../../examples/demo/base', import.meta.url));
const model = await loadModel(base, { task: causalLm() });
// The same rows at every step: a length that is new would be compiled for.
const data = skills()[0]!
  .train.slice(0, batchSize)
  .map((row) => ({ ...row }));

const training = (backend: Backend): Run<TrainEvent, unknown> =>
  train(model, {
    method: lora({ r: 8, targetModules: 'all-linear' }),
    data,
    backend,
    lr: 1e-3,
    steps: warmup + rounds,
    batchSize,
  });

/** The seconds of the next step. */
async function step(events: AsyncIterator<TrainEvent>): Promise<number> {
  for (;;) {
    const { value, done } = await events.next();
    if (done) throw new Error('The run ended early.');
    if (value.type === 'step') return value.seconds;
  }
}

const backends = await backendsHere(only);
const timed = [...backends].map(([backend, made]) => ({
  backend,
  events: training(made)[Symbol.asyncIterator](),
  seconds: [] as number[],
}));
for (let round = 0; round < warmup + rounds; round++)
  for (const { backend, events, seconds } of timed) {
    const now = await step(events);
    if (round >= warmup) seconds.push(now);
    console.error(`round ${round}, ${backend}: ${(now * 1000).toFixed(1)} ms`);
  }
for (const { events } of timed) await events.return?.();
await disposeAll(backends);

const [first] = timed;
const results = timed.map(({ backend, seconds }) => ({
  backend,
  milliseconds: Number((median(seconds) * 1000).toPrecision(4)),
  // Of neighbours in time: what else the machine does falls on both.
  ratio: Number(median(seconds.map((now, round) => now / first!.seconds[round]!)).toFixed(3)),
}));
console.table(results);
keep('backends', { rounds, results });
