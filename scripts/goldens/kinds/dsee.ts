import { createRandom, f32, largest, matrix, type Tensor } from '@peftjs/core';
import { decompose } from '../../../packages/dsee/src/decompose.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { type Checks, createChecks } from '../checks.js';
import type { DseeRecord } from '../dsee-case.js';
import { runTraining } from '../dsee-training.js';

interface SmallRecord extends CaseRecord {
  readonly config: { readonly N: number; readonly rounds: number; readonly threshold: number };
  readonly collapse: { readonly rounds: number; readonly asked: number };
}

interface LargeRecord extends CaseRecord {
  readonly seed: number;
  readonly config: {
    readonly size: number;
    readonly N: readonly number[];
    readonly rounds: readonly number[];
    readonly threshold: number;
  };
}

const asMatrix = ({ shape, data }: Tensor) => matrix(shape[0]!, shape[1]!, data as Float32Array);

/** Places of the k largest magnitudes. */
const top = (data: Float64Array, k: number): number[] =>
  largest([{ length: data.length, at: (i) => Math.abs(data[i]!) }], k)[0]!;

/** Chosen entries are the same or not: nothing is near. */
function same(checks: Checks, name: string, got: readonly number[], expected: Tensor): void {
  checks.leave((open) => open === name);
  const wanted = Array.from(expected.data as Int32Array, Number);
  if (got.join() !== wanted.join()) checks.problem(`${name}: ${got}, expected ${wanted}`);
}

/** S after each round, what is chosen from it, and a matrix on which the rank is used up. */
async function runSmall(folder: CaseFolder): Promise<void> {
  const { config, collapse } = folder.record as SmallRecord;
  const { inputs, expected } = folder;
  const checks = createChecks(folder);
  const W = asMatrix(inputs.get('W')!);
  for (let rounds = 1; rounds <= config.rounds; rounds++) {
    const { sparse } = decompose(W, { v: asMatrix(inputs.get('V0')!), threshold: config.threshold, rounds });
    checks.tensor(`S/${rounds}`, f32([W.rows, W.columns], sparse.data));
    const name = `top${config.N}/${rounds}`;
    same(checks, name, top(sparse.data, config.N), expected.get(name)!);
  }
  const { residual } = decompose(asMatrix(inputs.get('W_collapse')!), {
    v: asMatrix(inputs.get('V_collapse')!),
    threshold: config.threshold,
    rounds: collapse.rounds,
  });
  const chosen = new Set(top(residual.data, collapse.asked));
  if (chosen.size !== collapse.asked) checks.problem(`${chosen.size} entries where ${collapse.asked} were asked`);
  checks.done();
}

/** f(i) of the case: in [-1, 1), by the stream of a key. */
const noise = (seed: number, count: number): Float64Array =>
  Float64Array.from(createRandom(seed).bits(count), (word) => (word >>> 8) * 2 ** -24 * 2 - 1);

async function runLarge(folder: CaseFolder): Promise<void> {
  const { seed, config } = folder.record as LargeRecord;
  const { inputs, expected } = folder;
  const { size, threshold } = config;
  const checks = createChecks(folder, { relToMax: 2e-5 }); // float32 there, twice through products of 600 terms
  const spikes = new Map<number, number>();
  inputs.get('spike_positions')!.data.forEach((at, i) => {
    spikes.set(Number(at), Number(inputs.get('spike_values')!.data[i]));
  });
  const entries = noise(seed, size * size).map((x, i) => Math.fround(0.07 * x + (spikes.get(i) ?? 0)));
  const v = noise(seed + 1, size);
  const starts: readonly (readonly [string, Float64Array])[] = [
    ['W_first16', entries],
    ['V0_first16', v],
  ];
  for (const [name, made] of starts) {
    const given = Array.from(inputs.get(name)!.data as Float32Array);
    if (given.some((x, i) => x !== Math.fround(made[i]!))) checks.problem(`${name} is not what the case was made from`);
  }
  for (const rounds of config.rounds) {
    const options = { v: matrix(1, size, v), threshold, rounds };
    const { sparse } = decompose(matrix(size, size, entries), options);
    for (const n of config.N)
      same(checks, `top${n}/${rounds}`, top(sparse.data, n), expected.get(`top${n}/${rounds}`)!);
    const name = `S_at_spikes/${rounds}`;
    const at = Array.from(spikes.keys(), (i) => sparse.data[i]!);
    if (expected.has(name)) checks.tensor(name, f32([at.length], at));
  }
  checks.done();
}

/** DSEE: where S₂ goes, both phases of training, the masks of every importance, and what PEFT loads. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const { record } = folder;
  if (record.base) await runTraining(folder as CaseFolder<DseeRecord>, context);
  else await ('collapse' in record ? runSmall : runLarge)(folder);
}
