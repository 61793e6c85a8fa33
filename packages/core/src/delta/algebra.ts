import { PeftError, Problems } from '../errors.js';
import { requireAdditive } from './additive.js';
import { commonBase } from './common-base.js';
import type { Adapter, Delta, Term } from './delta.js';
import { sameExtents } from './kinds/common.js';
import { builtinKinds, type Kinds, kindOf } from './registry.js';
import { together } from './together.js';

const isAdapter = (x: Adapter | Delta): x is Adapter => 'delta' in x;
const isOptions = (x: Adapter | Delta | SumOptions): x is SumOptions => 'kinds' in x;

export interface SumOptions {
  /** Kinds of their updates, where they are not all built in. */
  readonly kinds: Kinds;
}

/**
 * The exact sum: terms stand side by side, nothing is multiplied out or rounded. Where an adapter was trained on top of
 * another of them, what it replaces stands in place of the other's.
 * @throws PeftError DELTA_CONFLICT when shapes differ, two adapters replace one parameter, or a parameter that one changes
 *   otherwise than by a sum, or in a way that is not known here, is changed by another too; ADAPTER_MISMATCH when they
 *   were made for different bases
 */
export function sum(...parts: readonly Adapter[]): Adapter;
export function sum(...parts: readonly Delta[]): Delta;
export function sum(...given: readonly [...Adapter[], SumOptions]): Adapter;
export function sum(...given: readonly [...Delta[], SumOptions]): Delta;
export function sum(...given: readonly (Adapter | Delta | SumOptions)[]): Adapter | Delta {
  const parts = given.filter((part): part is Adapter | Delta => !isOptions(part));
  const { kinds } = given.find(isOptions) ?? { kinds: builtinKinds };
  if (parts.length === 0) throw new PeftError('CONFIG_INVALID', 'sum needs at least one adapter or delta.');
  if (parts.every(isAdapter)) return parts.length === 1 ? parts[0]! : sumAdapters(parts, kinds);
  if (parts.some(isAdapter)) throw new PeftError('CONFIG_INVALID', 'sum takes adapters or deltas, not both at once.');
  return sumDeltas(parts as readonly Delta[], kinds);
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

function sumDeltas(parts: readonly Delta[], kinds: Kinds): Delta {
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
      for (const kind of known ? new Set([...before, ...terms].map((term) => term.kind)) : []) {
        const found = kinds.get(kind);
        const why = found ? 'which is not a sum W + ΔW' : 'which is not known here: give { kinds } last';
        if (!found || found.additive === false)
          problems.add(`"${path}" is changed by several, and by one with kind ${kind}, ${why}.`);
      }
      shape.set(path, known ?? own);
      params.set(path, [...before, ...terms]);
    }
  }
  problems.throwIfAny('DELTA_CONFLICT', 'These updates do not add');
  return { shape, params };
}

function sumAdapters(parts: readonly Adapter[], kinds: Kinds): Adapter {
  const acting = together(parts);
  const base = commonBase(parts);
  const on = [...new Set(parts.flatMap((part) => part.on ?? []))].filter((one) => !parts.some((p) => p.digest === one));
  return {
    delta: sumDeltas(
      acting.map(({ delta }) => delta),
      kinds,
    ),
    replaced: new Map(acting.flatMap((part) => [...part.replaced])),
    digest: `sum(${parts.map((p) => p.digest).join(',')})`,
    ...(base && { base }),
    ...(on.length > 0 && { on }),
  };
}

const names = (all: Iterable<string>): string => [...all].map((name) => `"${name}"`).join(', ');
