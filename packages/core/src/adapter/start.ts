import type { Adapter, Term } from '../delta/delta.js';
import { contentDigest } from '../delta/digest.js';
import { sameExtents } from '../delta/kinds/common.js';
import { PeftError, Problems } from '../errors.js';
import { cast, toF32 } from '../tensor/convert.js';
import { isFloat } from '../tensor/dtype.js';
import { createRandom } from '../tensor/random.js';
import { tensorRef } from '../tensor/refs.js';
import type { Tensor, TensorRef } from '../tensor/tensor.js';
import { underOwnPaths } from './aliases.js';
import type { Plan } from './bind.js';
import { ownConfig } from './config.js';
import { sharedPath, tensorName } from './names.js';
import { splitPath } from './patterns.js';
import type { Initial, Params } from './site.js';
import type { Target } from './target.js';
import { baseRows, resumeRows, tokenRowsName, tokenRowsTerm } from './token-rows.js';

/** Tensors of a plan by the names they have in a graph: `${target.path}:${letter}`, replaced parameters by their path. */
export type Tensors = ReadonlyMap<string, Tensor>;

export interface Start {
  readonly train: Tensors;
  /** Take part, never change, are rebuilt rather than saved. */
  readonly frozen: Tensors;
  /** Take part, change between updates only. */
  readonly held: Tensors;
}

/** The tensors of one target by letter, those that all targets share included. */
export function lettersOf<T>(path: string, named: Iterable<readonly [string, T]>): Params<T> {
  const p: Record<string, T> = {};
  for (const [name, tensor] of named) {
    const colon = name.lastIndexOf(':');
    const owner = name.slice(0, colon);
    if (colon >= 0 && (owner === path || owner === sharedPath)) p[name.slice(colon + 1)] = tensor;
  }
  return p;
}

/** Initial tensors by the names they have in a graph. */
export function named(initials: Iterable<readonly [path: string, initial: Initial]>): Start {
  const start = {
    train: new Map<string, Tensor>(),
    frozen: new Map<string, Tensor>(),
    held: new Map<string, Tensor>(),
  };
  for (const [path, { train, frozen = {}, held = {} }] of initials)
    for (const [into, tensors] of [
      [start.train, train],
      [start.frozen, frozen],
      [start.held, held],
    ] as const)
      for (const [letter, tensor] of Object.entries(tensors)) into.set(tensorName(path, letter), tensor);
  return start;
}

/**
 * Where training begins: the method's own start of every target, drawn from the seed and the target's path alone (so the
 * choice of targets does not change the others' numbers), and the base's values of what is trained in full.
 */
export async function startTensors(
  plan: Plan,
  options: { readonly seed: number | bigint; readonly parameters: ReadonlyMap<string, TensorRef> },
): Promise<Start> {
  const { method, sites } = plan;
  const random = createRandom(options.seed);
  const initials = sites.map(
    ({ target, c, given = {} }) => [target.path, method.init(target, c, random.fork(target.path), given)] as const,
  );
  const common = method.shared?.(sites, ownConfig(plan.config) as never, random.fork(sharedPath));
  const { train, frozen, held } = named(common ? [...initials, [sharedPath, common]] : initials);
  const full = new Map(train);
  for (const tokens of plan.tokens) {
    const table = options.parameters.get(`${tokens.target.path}.weight`)!;
    full.set(tokenRowsName(tokens), await baseRows(tokens, table));
  }
  for (const path of plan.replaced) full.set(path, toF32(await options.parameters.get(path)!.read()));
  return { train: full, frozen, held };
}

/**
 * What a method can go on from: an adapter of these shapes, and of the kinds that it takes.
 * @throws PeftError CONFIG_UNSUPPORTED when it cannot go on from any, or not from these; ADAPTER_MISMATCH listing every
 *   parameter of another shape
 */
export function requireResumable({ method, sites, tokens }: Plan, adapter: Adapter): void {
  const instead = 'train a new one on top of it with stack(model, [adapter]), on the command line with --on';
  if (!method.fromDelta)
    throw new PeftError(
      'CONFIG_UNSUPPORTED',
      `${method.name} cannot be trained on from a saved adapter, which does not hold what its training needs: ${instead}.`,
    );
  requireShapes(
    [...sites, ...tokens].map(({ target }) => target),
    adapter,
  );
  const { fromKinds } = method;
  if (!fromKinds) return;
  const problems = new Problems();
  for (const { target } of sites) {
    const path = `${target.path}.weight`;
    for (const { kind } of adapter.delta.params.get(path) ?? [])
      if (!fromKinds.includes(kind))
        problems.add(`"${path}" has an update of kind ${kind}, it trains on from ${fromKinds.join(' and ')}.`);
  }
  problems.throwIfAny('CONFIG_UNSUPPORTED', `${method.name} cannot be trained on from this adapter; ${instead}`);
}

function requireShapes(targets: readonly Target[], { delta }: Adapter): void {
  const problems = new Problems();
  for (const { path, out, parameters } of targets)
    for (const name of new Set([...Object.keys(parameters), 'bias'])) {
      const found = delta.shape.get(`${path}.${name}`);
      const own = parameters[name]?.shape ?? [out];
      if (found && !sameExtents(found, own))
        problems.add(`it changes "${path}.${name}" of [${found}], the model's is [${own}].`);
    }
  problems.throwIfAny('ADAPTER_MISMATCH', 'The adapter is one of another base');
}

/**
 * Where training goes on from an adapter: its terms as the method's tensors again. What the method does not take from
 * terms keeps its own start.
 * @throws PeftError ADAPTER_MISMATCH when the adapter and the plan do not cover the same targets or shapes,
 *   CONFIG_UNSUPPORTED when the method cannot go on from saved terms
 */
export async function resumeTensors(
  plan: Plan,
  given: Adapter,
  options: { readonly seed: number | bigint; readonly parameters: ReadonlyMap<string, TensorRef> },
): Promise<Start> {
  const { method } = plan;
  const adapter = underOwnPaths(
    given,
    plan.sites.map(({ target }) => target),
  );
  requireResumable(plan, adapter);
  const fresh = await startTensors(plan, options);
  const train = new Map(fresh.train);
  const frozen = new Map(fresh.frozen);
  const held = new Map(fresh.held);
  const problems = new Problems();
  const covered = new Set<string>();
  for (const { target, c } of plan.sites) {
    const terms = termsOf(adapter, target.path, covered);
    if (Object.keys(terms).length === 0) {
      problems.add(`it has nothing for "${target.path}".`);
      continue;
    }
    const own = lettersOf(target.path, [...fresh.frozen, ...fresh.held, ...fresh.train]);
    if (!terms.weight) {
      const weight = async (name: string) => toF32(await options.parameters.get(`${target.path}.${name}`)!.read());
      const { weight: needed } = await method.toDelta({ p: own, target, c, weight });
      if (needed) {
        problems.add(`it changes only ${Object.keys(terms).join(' and ')} of "${target.path}".`);
        continue;
      }
    }
    const tensors = await method.fromDelta!({ terms, target, c, fresh: own });
    for (const [letter, tensor] of Object.entries(tensors)) {
      const own = tensorName(target.path, letter);
      const shared = tensorName(sharedPath, letter);
      const name = fresh.train.has(shared) && !fresh.train.has(own) ? shared : own;
      const into = [train, held].find((tensors) => tensors.has(name)) ?? frozen;
      const now = into.get(name);
      if (now && sameExtents(now.shape, tensor.shape)) into.set(name, isFloat(tensor.dtype) ? toF32(tensor) : tensor);
      else
        problems.add(
          `"${name}" is [${tensor.shape}], this configuration has ${now ? `[${now.shape}]` : 'no such tensor'}.`,
        );
    }
  }
  for (const tokens of plan.tokens) {
    covered.add(`${tokens.target.path}.weight`);
    const values = await resumeRows(tokens, adapter, problems);
    if (values) train.set(tokenRowsName(tokens), values);
  }
  for (const path of adapter.delta.params.keys())
    if (!covered.has(path)) problems.add(`it changes "${path}", which this configuration does not adapt.`);
  for (const [path, ref] of adapter.replaced) {
    const own = train.get(path);
    if (own && sameExtents(own.shape, ref.shape)) train.set(path, toF32(await ref.read()));
    else
      problems.add(
        `it replaces "${path}" [${ref.shape}], ${own ? `here [${own.shape}]` : 'which is not trained here'}.`,
      );
  }
  problems.throwIfAny('ADAPTER_MISMATCH', `The adapter does not fit this ${method.name} configuration`);
  return { train, frozen, held };
}

/** A module's terms by parameter name; one term a parameter. */
function termsOf(adapter: Adapter, path: string, covered: Set<string>): Record<string, Term> {
  const terms: Record<string, Term> = {};
  for (const [parameter, list] of adapter.delta.params) {
    const [module, name] = splitPath(parameter);
    if (module !== path) continue;
    covered.add(parameter);
    if (list.length !== 1)
      throw new PeftError(
        'DELTA_CONFLICT',
        `"${parameter}" has ${list.length} updates side by side: a sum cannot be trained on. Merge it into the base and train a new adapter.`,
      );
    terms[name] = list[0]!;
  }
  return terms;
}

export interface AdapterFacts {
  readonly base?: Adapter['base'];
  readonly task?: Adapter['task'];
  readonly on?: Adapter['on'];
  /** Where the base's values come from for parameters that were to be trained but take no part in the graph. */
  readonly parameters: ReadonlyMap<string, TensorRef>;
}

/** The adapter of trained tensors. @throws PeftError INTERNAL when one is missing */
export async function toAdapter(plan: Plan, tensors: Start, facts: AdapterFacts): Promise<Adapter> {
  const { method } = plan;
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  const replaced = new Map<string, TensorRef>();
  const all = [...tensors.frozen, ...tensors.held, ...tensors.train];
  for (const { target, c } of plan.sites) {
    const p = lettersOf(target.path, all);
    if (Object.keys(p).length === 0) {
      if (method.next) continue; // a later phase left it out
      throw new PeftError('INTERNAL', `No tensors of "${target.path}" were trained.`);
    }
    const weight = async (name: string) => toF32(await facts.parameters.get(`${target.path}.${name}`)!.read());
    for (const [name, terms] of Object.entries(await method.toDelta({ p, target, c, weight }))) {
      const path = `${target.path}.${name}`;
      // A bias that the base does not have is one number for each output.
      shape.set(path, facts.parameters.get(path)?.shape ?? [target.out]);
      params.set(path, Array.isArray(terms) ? terms : [terms as Term]);
    }
    for (const [name, ref] of Object.entries(method.toReplaced?.({ p, target, c }) ?? {}))
      replaced.set(`${target.path}.${name}`, ref);
  }
  for (const tokens of plan.tokens) {
    const path = `${tokens.target.path}.weight`;
    shape.set(path, [tokens.target.in, tokens.target.out]);
    params.set(path, [tokenRowsTerm(tokens, tensors.train.get(tokenRowsName(tokens))!)]);
  }
  for (const path of plan.replaced) {
    const base = facts.parameters.get(path)!;
    const trained = tensors.train.get(path);
    replaced.set(path, trained ? tensorRef(cast(trained, base.dtype === 'f64' ? 'f64' : 'f32')) : base);
  }
  // A bias trained beside a matrix that nothing is left of: files hold such a module in full.
  const adapted = new Set([...params.keys()].map((path) => splitPath(path)[0]));
  for (const { target } of plan.sites) {
    const [weight, bias] = [`${target.path}.weight`, `${target.path}.bias`];
    const alone = plan.config.bias !== 'all' && replaced.has(bias) && !replaced.has(weight);
    if (alone && !adapted.has(target.path)) replaced.set(weight, facts.parameters.get(weight)!);
  }
  const delta = { shape, params };
  return {
    delta,
    replaced,
    digest: await contentDigest({ delta, replaced }),
    ...(facts.base && { base: facts.base }),
    method: { name: method.name, config: { ...plan.config, ...remaining(plan, { delta, replaced }) } },
    ...(facts.task && { task: facts.task }),
    ...(facts.on && { on: facts.on }),
  };
}

/** Names all that is changed where a matched target is left out, so that the rules of the file select no other. */
function remaining({ report }: Plan, { delta, replaced }: Pick<Adapter, 'delta' | 'replaced'>) {
  const changed = new Set([...delta.params.keys(), ...replaced.keys()].map((path) => splitPath(path)[0]));
  const targetModules = report.matched.filter((path) => changed.has(path));
  return targetModules.length < report.matched.length ? { targetModules } : {};
}
