import { cast, createRandom, elementCount, PeftError, type Random, type Tensor, toF32 } from '@peftjs/core';
import type * as z from 'zod';
import type { BoundMerge, Chunk, MergeFunction, MergeInput, TensorContext, WholeModel } from './define.js';
import { type Prepared, prepareInputs, requireFinite } from './inputs.js';
import { runRound, type Work } from './memory/rounds.js';
import { cutSize, tileElements } from './pieces.js';

export type Tensors = ReadonlyMap<string, Tensor>;

export interface InMemoryInputs<Schema extends z.ZodType> {
  readonly base?: Tensors | undefined;
  readonly models: readonly Tensors[];
  /** One a model; 1 each when not given. */
  readonly weights?: readonly number[] | undefined;
  /** The method's options. */
  readonly parameters?: MergeInput<Schema> | undefined;
  /** Values that single models have for themselves. */
  readonly each?: readonly (Readonly<Record<string, unknown>> | undefined)[] | undefined;
  /** Names of the models, on which random draws depend; their numbers when not given. */
  readonly ids?: readonly string[] | undefined;
  readonly seed?: number;
  /** Upper bound of elements in a chunk: the result does not depend on it beyond the rounding of sums. */
  readonly chunk?: number;
  /** Instead of the seed: the stream of each tensor. */
  readonly random?: (tensor: string) => Random;
  readonly onWarning?: (warning: { readonly tensor?: string; readonly message: string }) => void;
}

interface Loaded {
  readonly base?: ReadonlyMap<string, Float32Array>;
  readonly models: readonly ReadonlyMap<string, Float32Array>[];
}

function load(
  merge: string,
  inputs: InMemoryInputs<z.ZodType>,
  ids: readonly string[],
  names: readonly string[],
): Loaded {
  const widen = (tensors: Tensors, id: string) =>
    new Map(
      names.map((name) => {
        const { data } = toF32(tensors.get(name)!);
        requireFinite(data, name, `${id} (${merge})`, 0);
        return [name, data];
      }),
    );
  return {
    ...(inputs.base && { base: widen(inputs.base, 'the base') }),
    models: inputs.models.map((model, i) => widen(model, ids[i]!)),
  };
}

function chunksOf(tensor: string, shape: readonly number[], { base, models }: Loaded, size: number): Chunk[] {
  const count = elementCount(shape);
  const chunks: Chunk[] = [];
  for (let offset = 0; offset < count; offset += size) {
    const cut = (all: ReadonlyMap<string, Float32Array>) => all.get(tensor)!.subarray(offset, offset + size);
    chunks.push({ tensor, shape, offset, ...(base && { base: cut(base) }), models: models.map(cut) });
  }
  return chunks;
}

function streamed<S extends z.ZodType>(
  { merge, config }: BoundMerge<S>,
  inputs: InMemoryInputs<S>,
  prepared: Prepared<z.output<S>>,
  ids: readonly string[],
  random: (tensor: string) => Random,
): Map<string, Float32Array> {
  const loaded = load(merge.name, inputs as InMemoryInputs<z.ZodType>, ids, prepared.merged);
  let start = 0;
  let works = prepared.merged.map((tensor): Work<z.output<S>> => {
    const { shape } = inputs.models[0]!.get(tensor)!;
    const size = cutSize(merge.pieces?.(config) ?? 'elements', shape, inputs.chunk ?? tileElements);
    const { weights, each } = prepared;
    const count = elementCount(shape);
    const context: TensorContext<z.output<S>> = {
      tensor,
      shape,
      count,
      weights,
      each,
      c: config,
      ids,
      rng: random(tensor),
      stats: { numbers: {}, selections: {} },
    };
    start += count;
    return { context, chunks: chunksOf(tensor, shape, loaded, size), start: start - count };
  });
  for (const round of merge.stats ?? []) works = runRound(works, round);
  return new Map(
    works.map(({ context, chunks }) => {
      const out = new Float32Array(context.count);
      const warn = (message: string) => inputs.onWarning?.({ tensor: context.tensor, message });
      for (const chunk of chunks) out.set(merge.combine!({ ...context, ...chunk, warn }), chunk.offset);
      return [context.tensor, out];
    }),
  );
}

function inWhole<S extends z.ZodType>(
  { merge, config }: BoundMerge<S>,
  inputs: InMemoryInputs<S>,
  { merged, weights, each }: Prepared<z.output<S>>,
  ids: readonly string[],
  rng: Random,
): Map<string, Float32Array> {
  const loaded = load(merge.name, inputs as InMemoryInputs<z.ZodType>, ids, merged);
  const shaped = (all: ReadonlyMap<string, Float32Array>): WholeModel =>
    new Map([...all].map(([name, data]) => [name, { data, shape: inputs.models[0]!.get(name)!.shape }]));
  return merge.whole!({
    ...(loaded.base && { base: shaped(loaded.base) }),
    models: loaded.models.map(shaped),
    weights,
    each,
    c: config,
    rng,
    ids,
    warn: (message) => inputs.onWarning?.({ message }),
  });
}

/** @throws PeftError DELTA_CONFLICT when a tensor that is no float differs between inputs */
function copyOf(name: string, { base, models }: InMemoryInputs<z.ZodType>, ids: readonly string[]): Tensor {
  const first = (base ?? models[0]!).get(name)!;
  const other = models.findIndex((model) => {
    const { dtype, data } = model.get(name)!;
    return dtype !== first.dtype || data.some((value, i) => value !== first.data[i]);
  });
  if (other < 0) return first;
  const problem = `Tensor "${name}" (${first.dtype}) is not a float tensor and differs in ${ids[other]}: numbers that count something are never averaged. Make them equal, or leave the tensor out.`;
  throw new PeftError('DELTA_CONFLICT', problem, { details: { tensor: name, model: ids[other] } });
}

/**
 * Merges tensors in memory. Results have the dtype of the base, or of the first model: computed wide, rounded once.
 * @throws PeftError CONFIG_INVALID for options, counts and weights; DELTA_CONFLICT for tensors that do not fit
 */
export function mergeTensors<S extends z.ZodType>(
  method: MergeFunction<S>,
  inputs: InMemoryInputs<S>,
): Map<string, Tensor> {
  const bound = method(inputs.parameters);
  const ids = inputs.ids ?? inputs.models.map((_, i) => `model ${i}`);
  const { base, models, weights, each } = inputs;
  const prepared = prepareInputs<z.output<S>>(bound as unknown as BoundMerge, {
    ...(base && { base }),
    models,
    ids,
    ...(weights && { weights }),
    ...(each && { each }),
  });
  const rng = createRandom(inputs.seed ?? 0);
  const random = inputs.random ?? ((tensor: string) => rng.fork(tensor));
  const values = bound.merge.whole
    ? inWhole(bound, inputs, prepared, ids, rng)
    : streamed(bound, inputs, prepared, ids, random);
  const like = base ?? models[0]!;
  const merged = prepared.merged.map((name): [string, Tensor] => {
    const { dtype, shape } = like.get(name)!;
    return [name, cast({ dtype: 'f32', shape, data: values.get(name)! }, dtype)];
  });
  const copied = prepared.copied.map((name): [string, Tensor] => [
    name,
    copyOf(name, inputs as InMemoryInputs<z.ZodType>, ids),
  ]);
  return new Map([...merged, ...copied]);
}
