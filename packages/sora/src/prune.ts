import {
  type Adapter,
  f32,
  floats,
  type LowRankOptions,
  lowRank,
  lowRankTerm,
  type NamedTensors,
  type Params,
  type Target,
  type Tensor,
  type Term,
  tensorName,
  tensorRef,
} from '@peftjs/core';

/** The directions whose gate is open: I = { i : g_i ≠ 0 }. */
const openGates = (g: Tensor): number[] => [...floats(g).keys()].filter((i) => floats(g)[i] !== 0);

/**
 * The gated update as a plain low-rank one without its closed gates: A' = g_I ⊙ A_I (k × in), B' = B_I (out × k).
 * Nothing for a target whose gates are all closed.
 */
export function prunedTerm({ a, b, g }: Params<Tensor>, options: LowRankOptions): Params<Term> {
  const open = openGates(g!);
  if (open.length === 0) return {};
  const [r, n] = a!.shape as readonly [number, number];
  const m = b!.shape[0]!;
  const k = open.length;
  const [A, B] = [new Float32Array(k * n), new Float32Array(m * k)];
  open.forEach((i, at) => {
    const gate = floats(g!)[i]!;
    for (let j = 0; j < n; j++) A[at * n + j] = gate * floats(a!)[i * n + j]!;
    for (let o = 0; o < m; o++) B[o * k + at] = floats(b!)[o * r + i]!;
  });
  return { weight: lowRankTerm({ a: tensorRef(f32([k, n], A)), b: tensorRef(f32([m, k], B)) }, options) };
}

/** Open gates of all targets, and the numbers that stay when the others are pruned. */
export function gatesLeft(sites: readonly { readonly target: Target }[], gates: NamedTensors) {
  let [left, all, parameters] = [0, 0, 0];
  for (const { target } of sites) {
    const g = gates.get(tensorName(target.path, 'g'))!;
    const k = openGates(g).length;
    left += k;
    all += g.data.length;
    parameters += k * (target.in + target.out);
  }
  return { left, all, parameters };
}

/** The rank that is left of one parameter. */
export interface EffectiveRank {
  readonly path: string;
  readonly rank: number;
  /** Numbers of its factors: rank × (in + out). */
  readonly parameters: number;
}

/** What a trained adapter keeps, parameter by parameter; those that lost every gate are not in it. */
export const effectiveRanks = ({ delta }: Adapter): EffectiveRank[] =>
  [...delta.params].flatMap(([path, terms]) =>
    terms
      .filter(({ kind }) => kind === lowRank.kind)
      .map(({ tensors }) => {
        const [rank, inside] = tensors.a!.shape as readonly [number, number];
        return { path, rank, parameters: rank * (inside + tensors.b!.shape[0]!) };
      }),
  );

/** Numbers of a trained adapter after pruning, each module with its own width. */
export const effectiveParameters = (adapter: Adapter): number =>
  effectiveRanks(adapter).reduce((sum, { parameters }) => sum + parameters, 0);
