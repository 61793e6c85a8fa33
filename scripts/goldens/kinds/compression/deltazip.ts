import { codeOf, deltazip, numberOf, type ObsOptions, obs, scaleOfRun } from '@peftjs/bitdelta';
import { compress, decompress, f32, type Tensor, tensor, toF32 } from '@peftjs/core';
import { matrix } from '@peftjs/core/tensor';
import { expectPeftError } from '@peftjs/testkit';
import type { CaseFolder } from '../../case.js';
import {
  type CompressionRecord,
  deltaOf,
  difference,
  expectedOf,
  gather,
  readNamed,
  recordOf,
} from '../../compression.js';

type Bits = NonNullable<ObsOptions['bits']>;

interface DeltaZipRecord extends CompressionRecord {
  readonly parameters?: { readonly bits: Bits | null; readonly two_of_four: boolean; readonly percdamp: number };
  readonly row?: readonly number[];
  readonly values?: {
    readonly relative_output_error?: number;
    readonly scale?: number;
    readonly codes?: readonly number[];
    readonly dequantised?: readonly number[];
  };
}

/** ‖(W − Ŵ) X‖² / ‖W X‖² from H = X Xᵀ. */
function outputError(w: ArrayLike<number>, made: ArrayLike<number>, h: Float64Array, n: number): number {
  const norm = (row: (i: number) => number) => {
    let total = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) total += row(i) * h[i * n + j]! * row(j);
    return total;
  };
  let [lost, all] = [0, 0];
  for (let o = 0; o < w.length / n; o++) {
    lost += norm((i) => w[o * n + i]! - made[o * n + i]!);
    all += norm((i) => w[o * n + i]!);
  }
  return lost / all;
}

/** Codes and pruned places exactly, scales and values; through the codec where it has the form. */
export async function run(folder: CaseFolder): Promise<void> {
  const { input, parameters, row, values, expect, id } = recordOf<DeltaZipRecord>(folder);
  const checks = gather(folder);
  if (row) {
    const bits = parameters!.bits!;
    const scale = scaleOfRun(Float64Array.from(row), bits);
    const codes = row.map((x) => codeOf(x, scale, bits));
    checks.number('scale', scale, values!.scale!, 1e-6);
    checks.tensor('codes', f32([row.length], codes), f32([row.length], values!.codes!), { absolute: 0 });
    const made = f32(
      [row.length],
      codes.map((code) => numberOf(code, scale, bits)),
    );
    checks.tensor('dequantised', made, f32([row.length], values!.dequantised!), { relative: 1e-6 });
    return checks.done();
  }
  const given = await readNamed(folder, input!);
  const delta = difference(given.get('finetuned')!, given.get('base')!);
  const [rows, n] = delta.shape as readonly [number, number];
  const h = Float64Array.from(toF32(given.get('H')!).data);
  const dead = /row and column (\d+) of H/.exec(input!);
  if (dead) for (let i = 0, at = Number(dead[1]); i < n; i++) [h[at * n + i], h[i * n + at]] = [0, 0];
  const {
    bits,
    two_of_four: structured,
    percdamp: damping,
  } = parameters ?? { bits: 4, two_of_four: true, percdamp: 0.01 };
  const work = () => obs(matrix(rows, n, toF32(delta).data), h, { structured, damping, ...(bits && { bits }) });
  if (expect === 'refusal') {
    await expectPeftError(work, ['CONFIG_INVALID'], ['not positive definite']);
    return;
  }
  const result = work();
  const expected = await expectedOf(folder);
  const bytes = (data: Uint8Array | undefined): Tensor | undefined => data && tensor('u8', [rows, n], data);
  checks.tensor('delta', f32([rows, n], result.delta), expected.get('delta')!);
  for (const [name, got] of [
    ['codes', result.codes],
    ['pruned', result.pruned],
  ] as const)
    if (expected.has(name)) checks.tensor(name, bytes(got), expected.get(name)!, { absolute: 0 });
  if (expected.has('scale')) checks.tensor('scale', f32([rows], result.scale!), expected.get('scale')!);
  if (values?.relative_output_error !== undefined) {
    const error = outputError(toF32(delta).data, result.delta, h, n);
    checks.number('relative output error', error, values.relative_output_error, 1e-5);
  }
  if (bits) {
    const calibration = {
      spec: 'v1' as const,
      groups: (paths: readonly string[]) => [paths],
      isTransposed: () => false,
      moments: async () => new Map([['w', h]]),
    };
    const made = await compress(
      deltazip({ bits, structured, damping, calibration }),
      deltaOf(new Map([['w', delta]])),
    ).result();
    const plain = await decompress(made, { codecs: [deltazip] });
    const whole = await plain.delta.params.get('w')![0]!.tensors.delta!.read();
    checks.tensor(`${id} through the codec`, whole, expected.get('delta')!);
  }
  checks.done();
}
