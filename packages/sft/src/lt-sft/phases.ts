import {
  type Adapter,
  elementCount,
  f32,
  graphIndices,
  type Initial,
  largest,
  type NamedTensors,
  numbersOf,
  PeftError,
  type Phase,
  type PhaseEnd,
  type PhaseStart,
  type Scores,
  type Tensor,
  tensorName,
} from '@peftjs/core';
import { budgetOf } from '../budget.js';
import { indicesOf } from '../coordinates.js';
import type { SftSettings } from './config.js';
import { changeable } from './scope.js';

/** Each iteration trains everything, then what that has selected; of a saved adapter all is selected. */
export const phasesOf = ({ iterations, fullShare }: SftSettings, start?: Adapter): readonly Phase[] =>
  start
    ? [{ name: 'sparse', share: 1 }]
    : Array.from({ length: iterations }, () => [
        { name: 'full', share: fullShare },
        { name: 'sparse', share: 1 - fullShare },
      ]).flat();

export const nextPhase = (end: PhaseEnd<SftSettings>): Promise<PhaseStart> =>
  end.phase % 2 === 1 ? sparsePhase(end) : fullPhase(end);

/** Values at ascending flat indices. */
interface Chosen {
  readonly indices: ArrayLike<number>;
  readonly values: Float32Array;
}

/** What earlier iterations have selected of a parameter, with the values at the start of this one. */
function before(kept: NamedTensors, path: string, name: string): Chosen {
  const values = kept.get(tensorName(path, name));
  const indices = kept.get(tensorName(path, indicesOf(name)));
  if (!values || !indices) return { indices: [], values: new Float32Array() };
  return { indices: numbersOf(indices), values: values.data as Float32Array };
}

/** |θ¹ - θ⁰| of a parameter; what did not move or is selected already is out. */
function movement({ data }: Tensor, { indices }: Chosen): Scores {
  const change = data as Float32Array;
  const taken = indices.length > 0 ? new Uint8Array(change.length) : undefined;
  for (let i = 0; taken && i < indices.length; i++) taken[indices[i]!] = 1;
  return {
    length: change.length,
    at: (i) => (change[i] === 0 || taken?.[i] ? Number.NEGATIVE_INFINITY : Math.abs(change[i]!)),
  };
}

/** The chosen numbers with more of them, which begin at zero. */
function withMore({ indices, values }: Chosen, more: readonly number[]): Chosen {
  const all = Float64Array.from([...Array.from(indices), ...more]).sort();
  const known = new Map(Array.from(indices, (index, i) => [index, values[i]!]));
  return { indices: all, values: Float32Array.from(all, (index) => known.get(index) ?? 0) };
}

/**
 * Selects the K / n numbers that moved furthest over all parameters together, and goes back to where the iteration
 * began: θ ← θ⁰ + φ with φ as it was, heads and rows of tokens included (Ansell et al. 2022, section 3.1).
 */
async function sparsePhase({ sites, begun, kept, c }: PhaseEnd<SftSettings>): Promise<PhaseStart> {
  const parameters = sites.flatMap(({ target: { path }, p }) =>
    Object.entries(p).map(([name, change]) => ({ path, name, change, chosen: before(kept, path, name) })),
  );
  const all = parameters.reduce((sum, { change }) => sum + elementCount(change.shape), 0);
  const k = Math.floor(budgetOf('sft', c, all, c.iterations) / c.iterations);
  const more = largest(
    parameters.map(({ change, chosen }) => movement(change, chosen)),
    k,
  );
  const starts = new Map<string, { train: Record<string, Tensor>; frozen: Record<string, Tensor> }>();
  parameters.forEach(({ path, name, chosen }, i) => {
    const { indices, values } = withMore(chosen, more[i]!);
    if (values.length === 0) return;
    const start = starts.get(path) ?? { train: {}, frozen: {} };
    start.train[name] = f32([values.length], values);
    start.frozen[indicesOf(name)] = graphIndices(indices);
    starts.set(path, start);
  });
  if (starts.size === 0)
    throw new PeftError(
      'CONFIG_INVALID',
      'sft: no number of the targets moved in the full phase, so there is nothing to select: raise lr or steps.',
    );
  const rewound = new Map([...begun].map(([name, tensor]) => [name, kept.get(name) ?? tensor]));
  return { sites: starts, replaced: rewound };
}

/** Trains everything again, from where the sparse phase has come to. */
async function fullPhase({ sites, targets, replaced }: PhaseEnd<SftSettings>): Promise<PhaseStart> {
  const kept = new Map(replaced);
  const trained = new Map(sites.map(({ target, p }) => [target.path, p]));
  const starts = new Map<string, Initial>();
  for (const { target, c } of targets) {
    const p = trained.get(target.path) ?? {};
    for (const [name, tensor] of Object.entries(p)) kept.set(tensorName(target.path, name), tensor);
    const train: Record<string, Tensor> = {};
    for (const [name, shape] of Object.entries(changeable(target, c))) {
      const change = new Float32Array(elementCount(shape));
      const { indices, values } = before(kept, target.path, name);
      for (let i = 0; i < values.length; i++) change[indices[i]!] = values[i]!;
      train[name] = f32(shape, change);
    }
    starts.set(target.path, { train });
  }
  return { sites: starts, kept };
}
