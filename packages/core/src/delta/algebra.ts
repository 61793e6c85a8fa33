import { PeftError, Problems } from '../errors.js';
import { requireAdditive } from './additive.js';
import type { Adapter, Delta, Term } from './delta.js';
import { sameExtents } from './kinds/common.js';
import { builtinKinds, type Kinds, kindOf } from './registry.js';

const isAdapter = (x: Adapter | Delta): x is Adapter => 'delta' in x;

/**
 * The exact sum: terms stand side by side, nothing is multiplied out or rounded.
 * @throws PeftError DELTA_CONFLICT when shapes differ, two adapters replace one parameter, or a parameter that one changes
 *   otherwise than by a sum is changed by another too; ADAPTER_MISMATCH when they were made for different bases
 */
export function sum(...parts: readonly Adapter[]): Adapter;
export function sum(...parts: readonly Delta[]): Delta;
export function sum(...parts: readonly (Adapter | Delta)[]): Adapter | Delta {
  if (parts.length === 0) throw new PeftError('CONFIG_INVALID', 'sum needs at least one adapter or delta.');
  if (parts.every(isAdapter)) return parts.length === 1 ? parts[0]! : sumAdapters(parts);
  if (parts.some(isAdapter)) throw new PeftError('CONFIG_INVALID', 'sum takes adapters or deltas, not both at once.');
  return sumDeltas(parts as readonly Delta[]);
}

/**
 * The update times a number. 1 gives the same update back.
 * @throws PeftError DELTA_CONFLICT for an adapter that replaces parameters, and for terms that are not sums: part of
 *   either is not defined
 */
export function scale(x: Adapter, factor: number, kinds?: Kinds): Adapter;
export function scale(x: Delta, factor: number, kinds?: Kinds): Delta;
export function scale(x: Adapter | Delta, factor: number, kinds: Kinds = builtinKinds): Adapter | Delta {
  if (!Number.isFinite(factor)) throw new PeftError('CONFIG_INVALID', `An update cannot be scaled by ${factor}.`);
  if (factor === 1) return x;
  if (!isAdapter(x)) return scaleDelta(x, factor, kinds);
  if (x.replaced.size > 0)
    throw new PeftError(
      'DELTA_CONFLICT',
      `An adapter that replaces parameters in full cannot be scaled by ${factor}: ${names(x.replaced.keys())}. Scale its delta alone, or turn the replacements into differences first.`,
      { details: { replaced: [...x.replaced.keys()], factor } },
    );
  const { method: _, peft: __, ...rest } = x; // the configuration describes the unscaled adapter
  return { ...rest, delta: scaleDelta(x.delta, factor, kinds), digest: `scale(${x.digest},${factor})` };
}

export function negate(x: Adapter, kinds?: Kinds): Adapter;
export function negate(x: Delta, kinds?: Kinds): Delta;
export function negate(x: Adapter | Delta, kinds?: Kinds): Adapter | Delta {
  return scale(x as Adapter, -1, kinds);
}

function scaleDelta(delta: Delta, factor: number, kinds: Kinds): Delta {
  requireAdditive(delta, kinds, `This update cannot be scaled by ${factor}`);
  const params = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params)
    params.set(
      path,
      terms.map((term) => kindOf(term, kinds).scale(term, factor)),
    );
  return { shape: delta.shape, params };
}

function sumDeltas(parts: readonly Delta[]): Delta {
  const problems = new Problems();
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, Term[]>();
  for (const part of parts) {
    for (const [path, terms] of part.params) {
      const own = part.shape.get(path)!;
      const known = shape.get(path);
      if (known && !sameExtents(known, own))
        problems.add(`"${path}" is [${known}] in one update and [${own}] in another.`);
      const before = params.get(path) ?? [];
      // Kinds of other packages are not known here: their terms act in the order given.
      const odd = [...before, ...terms].find(({ kind }) => builtinKinds.get(kind)?.additive === false);
      if (known && odd)
        problems.add(`"${path}" is changed by several, and by one with kind ${odd.kind}, which is not a sum W + ΔW.`);
      shape.set(path, known ?? own);
      params.set(path, [...before, ...terms]);
    }
  }
  problems.throwIfAny('DELTA_CONFLICT', 'These updates do not add');
  return { shape, params };
}

function sumAdapters(parts: readonly Adapter[]): Adapter {
  const problems = new Problems();
  const replaced = new Map<string, Adapter['replaced'] extends ReadonlyMap<string, infer Ref> ? Ref : never>();
  for (const part of parts) {
    for (const [path, ref] of part.replaced) {
      const others = parts.filter((p) => p !== part && (p.replaced.has(path) || p.delta.params.has(path)));
      if (others.length > 0 && !replaced.has(path))
        problems.add(`"${path}" is replaced in full by one adapter and changed by another.`);
      replaced.set(path, ref);
    }
  }
  problems.throwIfAny('DELTA_CONFLICT', 'These adapters do not add');
  const digests = new Set(parts.map((p) => p.base?.digest).filter((d) => d !== undefined));
  if (digests.size > 1)
    throw new PeftError('ADAPTER_MISMATCH', `Adapters of different bases do not add: ${names(digests)}.`, {
      details: { bases: [...digests] },
    });
  const baseNames = new Set(parts.map((p) => p.base?.name));
  const [digest] = digests;
  const [name] = baseNames;
  const base = { ...(baseNames.size === 1 && name !== undefined && { name }), ...(digest && { digest }) };
  return {
    delta: sumDeltas(parts.map((p) => p.delta)),
    replaced,
    digest: `sum(${parts.map((p) => p.digest).join(',')})`,
    ...(Object.keys(base).length > 0 && { base }),
  };
}

const names = (all: Iterable<string>): string => [...all].map((name) => `"${name}"`).join(', ');
