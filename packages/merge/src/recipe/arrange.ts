import { Problems } from '@peftjs/core';
import type { Arrangement, Group, GroupSource } from '../engine/arrangement.js';
import { depth, isBeforeLayers, type Layers, layerOf, layersIn } from './layers.js';
import type { ModelPath, Recipe, RecipeSlice } from './recipe.js';

const same = (a: ModelPath, b: ModelPath | undefined): boolean => a.path === b?.path && a.adapter === b.adapter;

/** The distinct models of a recipe in the order of their first mention; the base, where there is one, is not among them. */
export function modelsOf(recipe: Recipe): ModelPath[] {
  const mentioned = [
    ...(recipe.models ?? []).map(({ model }) => model),
    ...(recipe.slices ?? []).flatMap(({ sources, base }) => [
      ...sources.map(({ model }) => model),
      ...(base ? [base] : []),
    ]),
  ];
  const others = mentioned.filter((model) => !same(model, recipe.base));
  return others.filter((model, i) => others.findIndex((other) => same(other, model)) === i);
}

/**
 * Which tensors a recipe merges into which. The base of the recipe is model -1. Where the method has use for a base, the
 * base is not one of the models even if it is listed among them (mergekit lists it as the end t = 0 of a slerp).
 */
export function arrangementOf(recipe: Recipe, usesBase: boolean): Arrangement {
  const models = modelsOf(recipe);
  const indexOf = (model: ModelPath) => models.findIndex((other) => same(other, model));
  const isBase = (model: ModelPath, base: ModelPath | undefined) => usesBase && same(model, base);
  return (names) => {
    const layers = layersIn(names(recipe.base ? -1 : 0));
    if (recipe.models) {
      const sources = recipe.models
        .filter(({ model }) => !isBase(model, recipe.base))
        .map(({ model, parameters }) => ({ model: indexOf(model), settings: parameters }));
      const base = recipe.base ? -1 : undefined;
      const rows = [...names(base ?? sources[0]?.model ?? -1)].map((name) => {
        const found = layers && layerOf(name, layers);
        return { name, t: depth(found?.layer, layers?.count ?? 1), base: name, tensors: sources.map(() => name) };
      });
      return { groups: [{ sources, base, levels: [recipe.parameters], rows }], layers: undefined };
    }
    return stacked(
      recipe,
      layers,
      (slice) => {
        const base = slice.base ?? recipe.base;
        return {
          base: base && (same(base, recipe.base) ? -1 : indexOf(base)),
          at: slice.sources.find(({ model }) => same(model, base)) ?? slice.sources[0]!,
          sources: slice.sources
            .filter(({ model }) => !isBase(model, base))
            .map((source) => ({ ...source, model: indexOf(source.model), settings: source.parameters })),
        };
      },
      names,
    );
  };
}

interface Placed {
  readonly base: number | undefined;
  /** Where the base's layers are taken from: its own place among the sources, else the first's. */
  readonly at: { readonly layers: readonly [number, number] };
  readonly sources: readonly (GroupSource & { readonly layers: readonly [number, number] })[];
}

/** Slices one on the other: layer numbers of the result run on from slice to slice. */
function stacked(
  recipe: Recipe,
  layers: Layers | undefined,
  place: (slice: RecipeSlice) => Placed,
  names: (model: number) => Iterable<string>,
) {
  const problems = new Problems();
  if (!layers) problems.add('slices need a model with numbered layers.');
  problems.throwIfAny('CONFIG_INVALID', 'The recipe');
  const { prefix } = layers!;
  const slices = recipe.slices!;
  const taken: number[] = [];
  const groups = slices.map((slice, s): Group => {
    const { base, at, sources } = place(slice);
    const origin = sources[0] ?? { model: -1, ...at };
    const [from, to] = origin.layers;
    if (to > layers!.count) problems.add(`slices[${s}] takes layers to ${to}; there are ${layers!.count}.`);
    const start = taken.length;
    for (let i = 0; i < to - from; i++) taken.push(at.layers[0] + i);
    const rows = [...names(origin.model)].flatMap((name) => {
      const found = layerOf(name, layers!);
      if (!found) {
        const home = isBeforeLayers(name) ? 0 : slices.length - 1; // as in mergekit
        return home === s ? [{ name, t: 0, base: name, tensors: sources.map(() => name) }] : [];
      }
      const i = found.layer - from;
      if (i < 0 || i >= to - from) return [];
      const within = (first: number) => `${prefix}.${first + i}.${found.rest}`;
      const tensors = sources.map((source) => within(source.layers[0]));
      return [{ name: within(start), t: depth(i, to - from), base: within(at.layers[0]), tensors }];
    });
    return { sources, base, levels: [slice.parameters, recipe.parameters], rows };
  });
  problems.throwIfAny('CONFIG_INVALID', 'The recipe');
  return { groups, layers: taken };
}
