import { f32, floats, type Params, scaled, type Tensor, type Term, toF32 } from '@peftjs/core';

interface Pair {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** [A₁; A₂] and [B₁ B₂]: their product is the sum of the products. A: r × in, B: out × r. */
export function besideEachOther(parts: readonly Pair[]): Pair {
  const inside = parts[0]!.a.shape[1]!;
  const out = parts[0]!.b.shape[0]!;
  const r = parts.reduce((sum, { a }) => sum + a.shape[0]!, 0);
  const a = new Float32Array(r * inside);
  const b = new Float32Array(out * r);
  let at = 0;
  for (const part of parts) {
    const own = part.a.shape[0]!;
    a.set(floats(part.a), at * inside);
    for (let o = 0; o < out; o++) b.set(floats(part.b).subarray(o * own, (o + 1) * own), o * r + at);
    at += own;
  }
  return { a: f32([r, inside], a), b: f32([out, r], b) };
}

/** What earlier rounds have left and what this one trains, without pairs that change nothing: an untrained B is zero. */
export function changesOf({ a0, b0, a, b }: Params<Tensor>): Pair[] {
  const pairs = [...(a0 && b0 ? [{ a: a0, b: b0 }] : []), ...(a && b ? [{ a, b }] : [])];
  return pairs.filter(({ b }) => floats(b).some((x) => x !== 0));
}

/** The factors of a saved update. B takes what `s` is off the saved scale. */
export async function putAside(
  { tensors, meta }: Term,
  s: number,
): Promise<{ readonly a0: Tensor; readonly b0: Tensor }> {
  return { a0: toF32(await tensors.a!.read()), b0: scaled(await tensors.b!.read(), Number(meta.scale) / s) };
}
