import {
  byteLength,
  defineKind,
  f32,
  lowRank,
  lowRankTerm,
  type Params,
  PeftError,
  randomAlgorithm,
  type Tensor,
  type Term,
  tensorRef,
} from '@peftjs/core';
import { type Bits, load, save, savedForm } from './coefficients.js';
import type { NolaSettings } from './config.js';
import { combine } from './math.js';
import { basesOf, type Extents, type Seed, startOf } from './source.js';

/** How the matrices of a term follow from its seed. Anything that changes a number of them needs a new one. */
const version = 1;

interface Description extends Extents {
  readonly seed: Seed;
  readonly r: number;
  readonly bases: number;
  readonly variant: NolaSettings['variant'];
  readonly bits: Bits;
  readonly transposed: boolean;
}

const variants: readonly unknown[] = ['language', 'paper', 'vit'] satisfies NolaSettings['variant'][];
const widths: readonly unknown[] = [32, 8, 4] satisfies Bits[];

/** The first numbers of A₀ and of both first bases, bit by bit: another generator shows. */
export function fingerprint(
  seed: Seed,
  layout: Pick<Description, 'r' | 'bases' | 'variant'>,
  extents: Extents,
): string {
  const { a, b } = basesOf(seed, layout, extents);
  const firsts = [a, b].map((bases) => {
    const out = new Float32Array(Math.min(4, bases.size));
    bases.fill(0, 0, out);
    return [...out];
  });
  const start = startOf(seed, layout, extents);
  if (start) firsts.push([...(start.data as Float32Array).subarray(0, 4)]);
  const words = new Uint32Array(Float32Array.from(firsts.flat()).buffer);
  return [...words].map((word) => word.toString(16).padStart(8, '0')).join('');
}

/** ΔW = scale · B A with A = A₀ + Σ αᵢ Aᵢ and B = Σ βⱼ Bⱼ, of which the coefficients and the seed are kept. */
export function seededTerm(
  { alpha, beta }: Params<Tensor>,
  { seed, ...layout }: Omit<Description, 'in' | 'out'> & { readonly scale: number },
  extents: Extents,
): Term {
  const { r, bases, variant, bits, scale, transposed } = layout;
  const [A, B] = [save(alpha!, bits), save(beta!, bits)];
  return {
    kind: 'seeded-low-rank',
    tensors: { alpha: A.tensor, beta: B.tensor },
    meta: {
      algorithm: randomAlgorithm,
      version,
      seed: String(seed),
      fingerprint: fingerprint(seed, layout, extents),
      variant,
      r,
      bases,
      bits,
      alphaStep: A.step,
      betaStep: B.step,
      scale,
      transposed,
    },
  };
}

const scaleOf = ({ meta }: Term): number => Number(meta.scale);
const whole = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) > 0;

/** What is wrong with the term's own account of itself. */
function problemsOf({ meta, tensors }: Term, shape: readonly number[]): string[] {
  if (shape.length !== 2) return [`it changes a matrix, the parameter is [${shape}]`];
  const out: string[] = [];
  if (meta.seed === undefined) out.push('it has no seed, and without it its coefficients mean nothing');
  else if (!/^\d{1,20}$/.test(String(meta.seed)) || BigInt(String(meta.seed)) >= 1n << 64n)
    out.push(`its seed ${meta.seed} is no integer from 0 to 2^64 - 1`);
  if (meta.algorithm !== randomAlgorithm || meta.version !== version)
    out.push(
      `its matrices are of ${meta.algorithm}, version ${meta.version}; this release makes those of ${randomAlgorithm}, version ${version}`,
    );
  if (typeof meta.fingerprint !== 'string') out.push('it has no fingerprint');
  if (!variants.includes(meta.variant)) out.push(`its variant ${meta.variant} is none of ${variants.join(', ')}`);
  if (!widths.includes(meta.bits)) out.push(`its coefficients have ${meta.bits} bits, known are ${widths.join(', ')}`);
  for (const key of ['r', 'bases']) if (!whole(meta[key])) out.push(`its ${key} is ${meta[key]}`);
  for (const key of ['scale', 'alphaStep', 'betaStep'])
    if (!Number.isFinite(meta[key])) out.push(`its ${key} is ${meta[key]}`);
  if (out.length > 0) return out;
  const { dtype, length } = savedForm(Number(meta.bases), meta.bits as Bits);
  for (const name of ['alpha', 'beta']) {
    const ref = tensors[name];
    if (ref?.dtype !== dtype || ref.shape.length !== 1 || ref.shape[0] !== length)
      out.push(`its ${name} is ${ref ? `${ref.dtype} [${ref.shape}]` : 'missing'}, needed is ${dtype} [${length}]`);
  }
  for (const name of Object.keys(tensors))
    if (name !== 'alpha' && name !== 'beta') out.push(`it has no tensor "${name}"`);
  return out;
}

const describe = ({ meta }: Term, shape: readonly number[]): Description => {
  const transposed = meta.transposed === true;
  const [out, inside] = transposed ? [shape[1]!, shape[0]!] : [shape[0]!, shape[1]!];
  return {
    seed: BigInt(String(meta.seed)),
    r: Number(meta.r),
    bases: Number(meta.bases),
    variant: meta.variant as NolaSettings['variant'],
    bits: meta.bits as Bits,
    transposed,
    in: inside,
    out,
  };
};

function fingerprintProblems(term: Term, shape: readonly number[]): string[] {
  const d = describe(term, shape);
  const own = fingerprint(d.seed, d, d);
  if (own === term.meta.fingerprint) return [];
  return [
    `its seed makes matrices that begin with ${own} here, and with ${term.meta.fingerprint} where it was trained: it belongs to another shape or another generator`,
  ];
}

/** The coefficients of a term and its seed, once they are known to mean what they meant when they were trained. */
export async function coefficientsOf(term: Term, shape: readonly number[]) {
  const problems = problemsOf(term, shape);
  if (problems.length === 0) problems.push(...fingerprintProblems(term, shape));
  if (problems.length > 0)
    throw new PeftError('ADAPTER_INVALID', `An update of kind ${term.kind} cannot be used: ${problems.join('; ')}.`, {
      details: { problems },
    });
  const d = describe(term, shape);
  const saved = (name: string) => ({ tensor: term.tensors[name]!, step: Number(term.meta[`${name}Step`]) });
  const [alpha, beta] = await Promise.all(['alpha', 'beta'].map((name) => load(saved(name), d.bases, d.bits)));
  return { ...d, alpha: alpha!, beta: beta!, scale: scaleOf(term) };
}

/**
 * The same update as a low-rank term: its factors, made once.
 * @throws PeftError ADAPTER_INVALID when the seed is missing or does not give the matrices it was trained with
 */
export async function lowRankOf(term: Term, shape: readonly number[]): Promise<Term> {
  const { seed, alpha, beta, scale, transposed, ...d } = await coefficientsOf(term, shape);
  const { a, b } = basesOf(seed, d, d);
  const A = combine(a, alpha, startOf(seed, d, d)?.data as Float32Array | undefined);
  const B = combine(b, beta);
  const factors = { a: tensorRef(f32([d.r, d.in], A)), b: tensorRef(f32([d.out, d.r], B)) };
  return lowRankTerm(factors, { scale, transposed });
}

/** Kilobytes that stand for a low-rank update: coefficients of random matrices that follow from a seed. */
export const seededLowRank = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'seeded-low-rank',
  dense: async (term, shape) => lowRank.dense(await lowRankOf(term, shape), shape),
  slots: async (term, shape) => lowRank.slots!(await lowRankOf(term, shape), shape),
  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: scaleOf(term) * factor } }),
  bytes: ({ tensors }) => Object.values(tensors).reduce((sum, ref) => sum + byteLength(ref.dtype, ref.shape), 0),
  problems: problemsOf,
  check: async (term, shape) => fingerprintProblems(term, shape),
});
