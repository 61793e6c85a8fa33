import type { Settings } from '../recipe/settings.js';

/** A model of a group by its number (-1: the base), with the values it has for itself. */
export interface GroupSource {
  readonly model: number;
  readonly settings: Settings;
}

/** One tensor of the result. */
export interface Row {
  readonly name: string;
  /** Depth among the layers, 0 to 1. */
  readonly t: number;
  /** What it is called in the group's base. */
  readonly base: string;
  /** And in each of the group's sources. */
  readonly tensors: readonly string[];
}

/** Tensors that are merged from the same models. */
export interface Group {
  readonly sources: readonly GroupSource[];
  /** Number of the model that serves as base. */
  readonly base: number | undefined;
  /** Values for the tensors of the group; the first level that has one wins. */
  readonly levels: readonly Settings[];
  readonly rows: readonly Row[];
}

/** Which tensors are merged into which, from the names each model has. */
export type Arrangement = (names: (model: number) => Iterable<string>) => {
  readonly groups: readonly Group[];
  /** The base's layers in the order of the result, where that is another one. */
  readonly layers: readonly number[] | undefined;
};

/** All models whole, under their own names. */
export const wholeModels =
  (own: readonly Settings[], hasBase: boolean): Arrangement =>
  (names) => {
    const sources = own.map((settings, model) => ({ model, settings }));
    const base = hasBase ? -1 : undefined;
    const rows = [...names(base ?? 0)].map((name) => ({ name, t: 0, base: name, tensors: own.map(() => name) }));
    return { groups: [{ sources, base, levels: [], rows }], layers: undefined };
  };
