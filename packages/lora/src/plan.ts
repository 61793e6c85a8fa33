import {
  f32,
  type Look,
  type Matrix,
  matrix,
  type Params,
  PeftError,
  type PlannedTarget,
  Problems,
  type Target,
  type Tensor,
  transpose,
  zeros,
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
  const problems = new Problems();
  for (const { target, c } of look.sites) {
    const own = planned.get(target.path);
    if (own)
      planned.set(target.path, { ...own, tensors: { ...own.tensors, ...(await ofWeight(look, target, c, problems)) } });
  }
  problems.throwIfAny('CONFIG_INVALID', 'lora');
  return planned;
}

/** What is taken from a target's weight: the factors of the start, and the squared norms for DoRA. */
async function ofWeight(
  look: Look<LoraSettings>,
  target: Target,
  c: LoraSettings,
  problems: Problems,
): Promise<Params<Tensor>> {
  const part = parts[String(c.init)];
  // An adapter to train on has the factors of its own start: these only give the shapes.
  const held = part && look.start && { a: zeros([c.r, target.in]), b: zeros([target.out, c.r]) };
  if (!c.dora && (held || !part)) return held ?? {};
  const path = `${target.path}.weight`;
  const weight = await look.weight(path);
  if (c.init === 'pissa' && !held && weight.data.every((x) => x === 0))
    problems.add(
      `"${path}" is zero everywhere, and init pissa starts at its directions: leave the module or init out.`,
    );
  const factors = held ?? part?.(outByIn(target, weight), c);
  const squares = c.dora && f32([target.out], squaredNorms(target, weight));
  return { ...factors, ...(squares && { squares }) };
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
    if (term.meta.scale === 0)
      throw new PeftError(
        'ADAPTER_MISMATCH',
        `lora: "${target.path}" of the adapter is scaled by 0, which leaves init eva no scale to go on with: scale it by another number, or train a new one.`,
      );
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
