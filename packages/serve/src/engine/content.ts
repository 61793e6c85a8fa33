import {
  type Adapter,
  builtinKinds,
  type Kinds,
  Problems,
  slotValues,
  type Target,
  type TensorRef,
  toF32,
  underOwnPaths,
} from '@peftjs/core';
import type { HeadContent, Layout, SlotContent } from '../worker/protocol.js';

/** What an adapter is measured against: the base and the slots. */
export interface Base {
  readonly name: string;
  readonly digest: () => Promise<string>;
  readonly targets: ReadonlyMap<string, Target>;
  readonly rank: number;
  /** Heads that an adapter may bring in full, by path: whether the base has one of its own. */
  readonly heads: ReadonlyMap<string, { readonly own: boolean }>;
  readonly kinds?: Kinds;
}

/** An adapter made ready for slots. */
export interface Prepared {
  readonly content: SlotContent;
  readonly layout: Layout;
  /** Largest rank among its targets. */
  readonly rank: number;
  readonly bytes: number;
}

const split = (path: string): readonly [module: string, leaf: string] => {
  const dot = path.lastIndexOf('.');
  return [path.slice(0, dot), path.slice(dot + 1)];
};

/**
 * Checks an adapter against the base and reads what goes into a slot.
 * @throws PeftError ADAPTER_MISMATCH with everything that keeps it from being served over this base
 */
export async function prepare(given: Adapter, base: Base): Promise<Prepared> {
  const adapter = underOwnPaths(given, base.targets.values());
  const problems = new Problems();
  const made = adapter.base?.digest;
  if (made !== undefined && made !== (await base.digest())) {
    problems.add(
      `it was made for another base: ${adapter.base?.name ?? ''} ${made}; this one is ${await base.digest()}.`,
    );
  }
  const rank = await checkTerms(adapter, base, problems);
  checkReplaced(adapter, base, problems);
  problems.throwIfAny('ADAPTER_MISMATCH', `The adapter cannot be served over ${base.name}`, { digest: adapter.digest });

  const paths = [...new Set([...adapter.delta.params.keys()].map((path) => split(path)[0]))];
  const sites = new Map(paths.map((path) => [path, base.targets.get(path)!]));
  const values = await slotValues({ ...adapter, replaced: new Map() }, sites, {
    rank: base.rank,
    kinds: base.kinds ?? builtinKinds,
  });
  const factors = [...values].map(([path, { a, b }]) => ({
    path,
    a: a.data as Float32Array,
    b: b.data as Float32Array,
  }));
  const heads = await readHeads(adapter.replaced);
  const numbers = [
    ...factors.flatMap(({ a, b }) => [a, b]),
    ...heads.flatMap(({ weight, bias }) => (bias ? [weight, bias] : [weight])),
  ];
  return {
    content: { factors, heads },
    layout: { targets: paths, heads: heads.map(({ path, out }) => ({ path, out })) },
    rank,
    bytes: numbers.reduce((sum, { byteLength }) => sum + byteLength, 0),
  };
}

/** Every update must be one of a target's weight, in factors that fit. Returns the largest rank. */
async function checkTerms(
  { delta }: Adapter,
  { targets, rank: limit, kinds = builtinKinds }: Base,
  problems: Problems,
): Promise<number> {
  let largest = 0;
  for (const [path, terms] of delta.params) {
    const [module, leaf] = split(path);
    const target = targets.get(module);
    const weight = leaf === 'weight' ? target?.parameters.weight : undefined;
    if (!weight) {
      problems.add(
        target ? `it changes "${path}"; slots hold changes of weights only.` : `the base has no module "${module}".`,
      );
      continue;
    }
    let rank = 0;
    for (const term of terms) {
      const kind = kinds.get(term.kind);
      const wrong = kind?.problems(term, weight.shape) ?? [];
      for (const problem of wrong) problems.add(`"${path}": ${problem}.`);
      if (!kind?.slots)
        problems.add(`"${path}" has an update of kind "${term.kind}", which no slot can hold; merge it into a base.`);
      else if (wrong.length === 0) rank += (await kind.slots(term, weight.shape)).rank;
    }
    if (rank > limit) problems.add(`"${path}" has rank ${rank}; the slots of this server hold ${limit}.`);
    largest = Math.max(largest, rank);
  }
  return largest;
}

/** What is replaced in full must be a head, and a head that the base lacks must be there. */
function checkReplaced({ replaced }: Adapter, { heads, targets }: Base, problems: Problems): void {
  for (const [path, ref] of replaced) {
    const [module, leaf] = split(path);
    const target = targets.get(module);
    if (!heads.has(module) || !target || (leaf !== 'weight' && leaf !== 'bias')) {
      problems.add(`it replaces "${path}" in full, which no slot can hold; merge it into a base.`);
    } else if (leaf === 'weight' && (ref.shape.length !== 2 || ref.shape[1] !== target.in)) {
      problems.add(`its "${path}" is [${ref.shape}]; this base needs [labels, ${target.in}].`);
    } else if (leaf === 'bias' && ref.shape[0] !== replaced.get(`${module}.weight`)?.shape[0]) {
      problems.add(`its "${path}" [${ref.shape}] does not fit its weight.`);
    }
  }
  for (const [module, { own }] of heads) {
    if (!own && !replaced.has(`${module}.weight`)) problems.add(`it has no "${module}", and neither has the base.`);
  }
}

/** Heads among full parameters, as numbers. */
export async function readHeads(parameters: ReadonlyMap<string, TensorRef>): Promise<HeadContent[]> {
  const read = async (ref: TensorRef) => toF32(await ref.read()).data as Float32Array;
  const heads: HeadContent[] = [];
  for (const [path, ref] of parameters) {
    const [module, leaf] = split(path);
    const bias = parameters.get(`${module}.bias`);
    if (leaf === 'weight')
      heads.push({
        path: module,
        out: ref.shape[0]!,
        weight: await read(ref),
        ...(bias ? { bias: await read(bias) } : {}),
      });
  }
  return heads;
}
