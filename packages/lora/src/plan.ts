import {
  f32,
  type Look,
  type Matrix,
  matrix,
  type PlannedTarget,
  type Target,
  type Tensor,
  transpose,
} from '@peftjs/core';
import type { LoraSettings } from './config.js';
import { orthonormalFactors, principalFactors, type StartFactors } from './decompose.js';
import { squaredNorms } from './dora.js';
import { explainedVariance } from './eva.js';
import { scale } from './math.js';

/** Starts that are a part of the weight: what is trained is the difference from it. */
const parts: Readonly<Record<string, (w: Matrix, c: LoraSettings) => StartFactors>> = {
  pissa: (w, { r, alpha, rslora }) => principalFactors(w, r, scale(alpha, r, rslora)),
  olora: (w, { r }) => orthonormalFactors(w, r),
};

/** Whether the start is a part of the base's weight, so that it is subtracted again. */
export const startsFromWeight = ({ init }: LoraSettings): boolean => Object.hasOwn(parts, String(init));

/** What has to be seen before the start: weights for PiSSA, OLoRA and DoRA, data for EVA. */
export async function planTargets(look: Look<LoraSettings>): Promise<Map<string, PlannedTarget<LoraSettings>>> {
  const planned = await ranksOf(look);
  for (const { target, c } of look.sites) {
    const own = planned.get(target.path);
    if (!own || !(startsFromWeight(c) || c.dora)) continue;
    const weight = await look.weight(`${target.path}.weight`);
    const factors = parts[String(c.init)]?.(outByIn(target, weight), c);
    const squares = c.dora && f32([target.out], squaredNorms(target, weight));
    const tensors: Record<string, Tensor> = { ...own.tensors, ...factors, ...(squares && { squares }) };
    planned.set(target.path, { ...own, tensors });
  }
  return planned;
}

/** Targets with their ranks: as configured, or as EVA finds them in the data, or found them for an adapter. */
async function ranksOf(look: Look<LoraSettings>): Promise<Map<string, PlannedTarget<LoraSettings>>> {
  const { sites, start } = look;
  if (!sites.some(({ c }) => c.init === 'eva')) return new Map(sites.map(({ target }) => [target.path, {}]));
  if (!start) return explainedVariance(look);
  const planned = new Map<string, PlannedTarget<LoraSettings>>();
  for (const { target, c } of sites) {
    const term = start.delta.params.get(`${target.path}.weight`)?.[0];
    const a = await term?.tensors.a?.read();
    if (!term || !a) continue;
    const r = a.shape[0]!;
    const alpha = Number(term.meta.scale) * (c.rslora ? Math.sqrt(r) : r);
    planned.set(target.path, { c: { r, alpha }, tensors: { a } });
  }
  return planned;
}

/** The weight as (out, in): conv1d weights and tables lie as (in, out). */
function outByIn({ kind }: Target, { shape, data }: Tensor): Matrix {
  const w = matrix(shape[0]!, shape[1]!, data as Float32Array);
  return kind === 'linear' ? w : transpose(w);
}
