import { f32, type Params, scaled, type Tensor, type Term, toF32 } from '@peftjs/core';

/** Rank and alpha of a saved update: the scale α / r stays that of its training. */
export function savedRank({ tensors, meta }: Term): { readonly r: number; readonly alpha: number } {
  const r = tensors.a!.shape[0]!;
  return { r, alpha: Number(meta.scale) * r };
}

/** The factors of a saved update with open gates. B takes what `s` is off the saved scale. */
export async function openFactors({ tensors, meta }: Term, s: number): Promise<Params<Tensor>> {
  const a = toF32(await tensors.a!.read());
  const r = a.shape[0]!;
  const b = scaled(await tensors.b!.read(), Number(meta.scale) / s);
  return { a, b, g: f32([r], new Float32Array(r).fill(1)) };
}
