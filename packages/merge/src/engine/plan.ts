import { byteLength, type DType, elementCount, isFloat, isPeftError, type Problems } from '@peftjs/core';
import type { BoundMerge } from '../define.js';
import { prepareInputs } from '../inputs.js';
import type { Arrangement, Group, Row } from './arrangement.js';
import { checkKeys, type Resolved, resolver } from './resolve.js';
import type { Held, Opened } from './sources.js';
import type { Task } from './task.js';

export interface PlanInputs {
  readonly bound: BoundMerge;
  readonly arrangement: Arrangement;
  readonly base: Opened | undefined;
  readonly models: readonly Opened[];
  readonly ids: readonly string[];
  readonly outDtype: DType | undefined;
  /** The result is what is added to the base. */
  readonly difference: boolean;
  readonly seed: number;
  /** What was found before: reported together with everything else that is wrong. */
  readonly problems: Problems;
}

/** A task that has no target yet. */
export type Planned = Omit<Task, 'target'> & { readonly dtype: DType };

export interface Plan {
  /** In the order of the base's file. */
  readonly tasks: readonly Planned[];
  /** The base's layers in the order of the result, where that is another one. */
  readonly layers: readonly number[] | undefined;
}

/** A group with its inputs as they are. */
interface Scene {
  readonly group: Group;
  readonly base: Opened | undefined;
  readonly sources: readonly Opened[];
  readonly ids: readonly string[];
  /** Whether the method sees a base: that of the group, or zeros under updates that have none. */
  readonly withBase: boolean;
}

const writable: ReadonlySet<DType> = new Set(['f64', 'f32', 'f16', 'bf16']);

/** What is merged into what. @throws PeftError listing everything wrong with settings, or with the inputs */
export function planMerge(inputs: PlanInputs): Plan {
  const { bound, problems } = inputs;
  const { groups, layers } = inputs.arrangement(namesIn(inputs));
  checkKeys(bound, groups);
  const tasks: Planned[] = [];
  for (const group of groups) {
    const scene = sceneOf(inputs, group);
    const resolve = resolver(bound, (resolved) => checkSettings(resolved, scene));
    const extra = layers ? [] : extraNames(scene);
    const resolved = group.rows.map((row) => resolve(group, row));
    fitTensors(scene, extra, inputs);
    group.rows.forEach((row, i) => {
      const task = taskOf(inputs, scene, row, resolved[i]!);
      if (task) tasks.push(task);
    });
  }
  if (tasks.length === 0) problems.add('there is nothing to merge');
  problems.throwIfAny('DELTA_CONFLICT', `${bound.merge.name}: the inputs do not fit each other`);
  return { tasks, layers };
}

/** Updates alone name only what they change: together they name what the result changes. */
function namesIn({ base, models }: PlanInputs): (model: number) => Iterable<string> {
  const all = new Set(models.flatMap(({ tensors }) => [...tensors.keys()]));
  return (model) => {
    const opened = model < 0 ? base! : models[model]!;
    return base || !opened.update ? opened.tensors.keys() : all;
  };
}

function sceneOf({ bound, base, models, ids }: PlanInputs, group: Group): Scene {
  const at = (model: number) => (model < 0 ? base! : models[model]!);
  const sources = group.sources.map(({ model }) => at(model));
  const own = group.base === undefined ? undefined : at(group.base);
  const zeros = bound.merge.base === 'required' && !own && sources.every(({ update }) => update);
  return {
    group,
    base: own,
    sources,
    ids: group.sources.map(({ model }) => ids[model] ?? 'the base'),
    withBase: zeros || (own !== undefined && bound.merge.base !== 'none'),
  };
}

/** Tensors of whole models that no row names. */
function extraNames({ group, sources }: Scene): string[] {
  const named = new Set(group.rows.map(({ name }) => name));
  return sources.flatMap(({ tensors }) => [...tensors.keys()].filter((name) => !named.has(name)));
}

/** The first shape that any input has for a row. */
const shapeOf = ({ base, sources }: Scene, row: Row): readonly number[] | undefined =>
  [base?.tensors.get(row.base), ...sources.map(({ tensors }, i) => tensors.get(row.tensors[i]!))].find(Boolean)?.shape;

/** A tensor as an input has it; an update changes what it does not name by zero. */
function heldBy(opened: Opened | undefined, name: string, shape: readonly number[] | undefined): Held | undefined {
  const held = opened?.tensors.get(name);
  if (held || !shape || (opened && !opened.update)) return held;
  return { terms: [], dtype: 'f32', shape };
}

/** Collects tensors that are missing or do not fit. */
function fitTensors(scene: Scene, extra: readonly string[], { bound, problems }: PlanInputs): void {
  const { group, base, sources, ids, withBase } = scene;
  const seen = (opened: Opened | undefined, nameIn: (row: Row) => string) => {
    const held = group.rows.map((row) => [row.name, heldBy(opened, nameIn(row), shapeOf(scene, row))] as const);
    const more = extra.map((name) => [name, opened?.tensors.get(name)] as const);
    return new Map([...held, ...more].filter((entry): entry is readonly [string, Held] => entry[1] !== undefined));
  };
  const { check: _, ...merge } = bound.merge;
  try {
    prepareInputs(
      { ...bound, merge: { ...merge, base: 'optional', models: {} } },
      {
        ...(withBase && { base: seen(base, (row) => row.base) }),
        models: sources.map((source, i) => seen(source, (row) => row.tensors[i]!)),
        ids,
      },
    );
  } catch (error) {
    const found = isPeftError(error) && error.code === 'DELTA_CONFLICT' ? error.details.problems : undefined;
    if (!Array.isArray(found)) throw error;
    for (const problem of found) problems.add(String(problem));
  }
}

/** Counts, weights and the method's own checks, for one set of settings. @throws PeftError CONFIG_INVALID */
function checkSettings({ bound, weights, own }: Resolved, { ids, withBase }: Scene): void {
  const nothing = new Map<string, Held>();
  prepareInputs(bound, {
    ...(withBase && { base: nothing }),
    models: ids.map(() => nothing),
    ids,
    weights,
    each: own,
  });
}

function taskOf(inputs: PlanInputs, scene: Scene, row: Row, resolved: Resolved): Planned | undefined {
  const { outDtype, difference, seed, problems } = inputs;
  const { base, sources, ids, withBase } = scene;
  const shape = shapeOf(scene, row) ?? [];
  const zero: Held = { terms: [], dtype: 'f32', shape };
  const own = base?.tensors.get(row.base);
  const models = sources.map((source, i) => heldBy(source, row.tensors[i]!, shape) ?? zero);
  const like = own ?? models[0] ?? zero;
  const copied = !isFloat(like.dtype);
  if (copied && difference) return undefined;
  const dtype = copied ? like.dtype : (outDtype ?? (difference ? 'f32' : like.dtype));
  if (!copied && !writable.has(dtype))
    problems.add(`tensor "${row.name}" is ${dtype}, which is not written: name another dtype (outDtype)`);
  return {
    tensor: row.name,
    shape,
    ...((withBase || difference) && { base: own ?? zero }),
    models,
    ids,
    weights: resolved.weights,
    config: resolved.bound.config,
    each: resolved.each,
    seed,
    kind: copied ? 'copy' : difference ? 'difference' : 'merge',
    dtype,
  };
}

/** Numbers and bytes of the result. */
export const sizeOfPlan = ({ tasks }: Plan) => ({
  parameters: tasks.reduce((sum, { shape }) => sum + elementCount(shape), 0),
  bytes: tasks.reduce((sum, { dtype, shape }) => sum + byteLength(dtype, shape), 0),
});
