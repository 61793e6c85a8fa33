import { type LowRankOptions, lowRank, relativeError } from '@peftjs/bitdelta';
import {
  type Adapter,
  compress,
  type Delta,
  decompress,
  lowRank as factors,
  svdOfDense,
  type Tensor,
  toF32,
} from '@peftjs/core';
import { matrix } from '@peftjs/core/tensor';
import type { CaseFolder, Tensors } from '../../case.js';
import { type CompressionRecord, deltaOf, expectedOf, gather, readNamed, recordOf } from '../../compression.js';

interface LowRankRecord extends CompressionRecord {
  readonly parameters?: { readonly rank?: number; readonly budget_values?: number };
  readonly values: {
    readonly singular_values?: readonly number[];
    readonly rank_for_energy?: Readonly<Record<string, number>>;
    readonly relative_error?: Readonly<Record<string, number>> | number;
    readonly ranks?: Readonly<Record<string, number>>;
    readonly used?: number;
    readonly explained_energy?: number;
  };
}

const rankIn = (delta: Delta, name: string): number => delta.params.get(name)?.[0]?.tensors.a?.shape[0] ?? 0;

/** Compressed, and the same update as core's low-rank terms. */
async function compressed(given: Tensors, options: LowRankOptions): Promise<Adapter> {
  const made = await compress(lowRank(options), deltaOf(given)).result();
  return decompress(made, { codecs: [lowRank] });
}

const decoded = ({ delta }: Adapter, name: string): Promise<Tensor> =>
  factors.dense(delta.params.get(name)![0]!, delta.shape.get(name)!);

/** Ranks by energy, by fraction and under a budget; best approximations, and factors of eight bits. */
export async function run(folder: CaseFolder): Promise<void> {
  const { input, parameters = {}, values, id } = recordOf<LowRankRecord>(folder);
  const given = await readNamed(folder, input!);
  const checks = gather(folder);
  const exact = { factors: 'f32' as const };
  const same = (name: string, got: number, expected: number) => checks.number(name, got, expected, 0);

  if (id === 'ere-energy') {
    const x = given.get('delta')!;
    const { s } = svdOfDense(matrix(x.shape[0]!, x.shape[1]!, toF32(x).data));
    for (const [i, sigma] of values.singular_values!.entries())
      checks.number(`singular value ${i}`, s[i] ?? 0, sigma, 1e-6);
    for (const [energy, rank] of Object.entries(values.rank_for_energy!)) {
      const { delta } = await compressed(given, { ...exact, energy: Number(energy) });
      same(`rank for ${energy}`, rankIn(delta, 'delta'), rank);
    }
    const errors = values.relative_error as Readonly<Record<string, number>>;
    for (const [name, expected] of await expectedOf(folder)) {
      const whole = await decoded(
        await compressed(given, { ...exact, rank: Number(name.slice('rank'.length)) }),
        'delta',
      );
      checks.tensor(name, whole, expected);
      checks.number(`error of ${name}`, relativeError(toF32(x).data, toF32(whole).data), errors[name]!, 1e-5);
    }
  }
  if (id === 'ere-int8-factors') {
    const whole = await decoded(await compressed(given, { rank: parameters.rank!, factors: 'int8' }), 'delta');
    checks.tensor('delta', whole, (await expectedOf(folder)).get('delta')!);
    const error = relativeError(toF32(given.get('delta')!).data, toF32(whole).data);
    // A code on a rounding boundary may be one further.
    checks.number('error', error, Number(values.relative_error), 1e-4);
  }
  if (id === 'laser')
    for (const [fraction, rank] of Object.entries(values.ranks!)) {
      const adapter = await compressed(given, { ...exact, fraction: Number(fraction) });
      same(`rank for ${fraction}`, rankIn(adapter.delta, 'weight'), rank);
      checks.tensor(fraction, await decoded(adapter, 'weight'), (await expectedOf(folder)).get(`keep${fraction}`)!, {
        absolute: 1e-6,
        relative: 1e-5,
      });
    }
  if (id === 'ere-budget') {
    const adapter = await compressed(given, { ...exact, budget: parameters.budget_values! });
    let [used, kept, total] = [0, 0, 0];
    for (const [name, rank] of Object.entries(values.ranks!)) {
      const { shape, data } = given.get(name)!;
      same(`rank of ${name}`, rankIn(adapter.delta, name), rank);
      used += rank * (shape[0]! + shape[1]!);
      const squares = (x: ArrayLike<number>) => Array.from(x).reduce((sum, v) => sum + v * v, 0);
      total += squares(data as Float32Array);
      kept += squares(toF32(await decoded(adapter, name)).data);
    }
    same('used', used, values.used!);
    checks.number('explained energy', kept / total, values.explained_energy!, 1e-5);
  }
  checks.done();
}
