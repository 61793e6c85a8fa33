import {
  type Adapter,
  builtinKinds,
  kindOf,
  PeftError,
  Problems,
  type Target,
  type TensorRef,
  toF32,
} from '@peftjs/core';

/** One number for every unit of a layer; the smallest go first. */
export interface LayerScores {
  /** Of key and value heads, each with all query heads that share it. */
  readonly heads: readonly number[];
  /** Of channels of the feed-forward block. */
  readonly channels: readonly number[];
}

/** How many units of each layer go. */
export interface Fewer {
  /** Key and value heads. Default 0. */
  readonly heads?: number;
  /** Part of the channels, rounded down. Default 0. */
  readonly channels?: number;
}

interface Base {
  readonly targets: readonly Target[];
  readonly parameters: ReadonlyMap<string, TensorRef>;
}

/** Rows of a weight (out, in) belong to units where a role writes them, columns where it reads them. */
const structures: Readonly<Record<keyof LayerScores, Readonly<Partial<Record<NonNullable<Target['role']>, 0 | 1>>>>> = {
  heads: { query: 0, key: 0, value: 0 },
  channels: { up: 0, gate: 0, down: 1 },
};

/** Adds Σ |entry| over each unit's rows or columns. */
function addTo(sums: Float64Array, data: Float32Array, { in: width }: Target, axis: 0 | 1): void {
  const extent = axis === 0 ? data.length / width : width;
  for (let i = 0; i < data.length; i++) {
    const place = axis === 0 ? Math.floor(i / width) : i % width;
    const unit = Math.floor((place * sums.length) / extent);
    sums[unit] = sums[unit]! + Math.abs(data[i]!);
  }
}

/**
 * What heads and channels are worth, layer by layer: Σ |ΔW| over the head's rows of query, key and value, as in the
 * authors' code, and over the channel's rows of up and gate and columns of down. A structure that the adapter changes
 * nowhere is measured by the base's |W|. With grouped queries a unit is a key and value head with its query heads.
 * @throws PeftError MODEL_UNSUPPORTED where no layer has heads or channels that can be told apart
 */
export async function pruningScores(
  { delta }: Adapter,
  { targets, parameters }: Base,
): Promise<Map<number, LayerScores>> {
  const layers = new Map<number, { heads: number[]; channels: number[] }>();
  for (const structure of ['heads', 'channels'] as const) {
    const parts = targets.flatMap((target) => {
      const axis = target.role && target.kind === 'linear' ? structures[structure][target.role] : undefined;
      return axis === undefined || target.layer === undefined ? [] : [{ target, axis, layer: target.layer }];
    });
    const terms = ({ path }: Target) =>
      (delta.params.get(`${path}.weight`) ?? []).filter((term) => kindOf(term, builtinKinds).additive !== false);
    const updated = parts.some(({ target }) => terms(target).length > 0);
    for (const { target, axis, layer } of parts) {
      const scores = layers.get(layer) ?? { heads: [], channels: [] };
      layers.set(layer, scores);
      const ref = parameters.get(`${target.path}.weight`)!;
      const count = structure === 'heads' ? target.kvHeads! : ref.shape[axis]!;
      const sums = Float64Array.from({ length: count }, (_, unit) => scores[structure][unit] ?? 0);
      const whole = new Float32Array(ref.shape[0]! * ref.shape[1]!);
      if (!updated) whole.set(toF32(await ref.read()).data as Float32Array);
      for (const term of terms(target)) {
        const { data } = await kindOf(term, builtinKinds).dense(term, ref.shape);
        for (let i = 0; i < whole.length; i++) whole[i] = whole[i]! + Number(data[i]);
      }
      addTo(sums, whole, target, axis);
      scores[structure] = [...sums];
    }
  }
  if (layers.size === 0)
    throw new PeftError('MODEL_UNSUPPORTED', 'dsee: no layer of this model has heads or channels of their own.');
  return layers;
}

/** The k smallest, the earlier among equal ones, ascending. */
const smallest = (scores: readonly number[], k: number): number[] =>
  [...scores.keys()]
    .sort((a, b) => scores[a]! - scores[b]! || a - b)
    .slice(0, k)
    .sort((a, b) => a - b);

/**
 * The units of every layer with the smallest scores, for `prunedParameters` of @peftjs/models.
 * @throws PeftError CONFIG_INVALID for what is no number or part of units, and where no layer has such units
 */
export function weakest(
  scores: ReadonlyMap<number, LayerScores>,
  { heads = 0, channels = 0 }: Fewer,
): Map<number, { readonly heads: readonly number[]; readonly channels: readonly number[] }> {
  const problems = new Problems();
  if (!(Number.isInteger(heads) && heads >= 0))
    problems.add(`heads is ${heads}: a whole number, 0 or more, is needed.`);
  if (!(channels >= 0 && channels < 1)) problems.add(`channels is ${channels}: a part from 0 to below 1 is needed.`);
  for (const [structure, asked] of Object.entries({ heads, channels }) as [keyof LayerScores, number][])
    if (asked > 0 && [...scores.values()].every((own) => own[structure].length === 0))
      problems.add(`${structure} is ${asked}, and no layer has ${structure} of its own: leave ${structure} out.`);
  problems.throwIfAny('CONFIG_INVALID', 'dsee cannot say what goes');
  return new Map(
    [...scores].map(([layer, own]) => [
      layer,
      {
        heads: smallest(own.heads, heads),
        channels: smallest(own.channels, Math.floor(channels * own.channels.length)),
      },
    ]),
  );
}
