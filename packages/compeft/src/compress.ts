import { type CompressEvent, type CompressInput, type Delta, PeftError, type Term } from '@peftjs/core';
import type { Scaled } from './arithmetic.js';
import type { CompeftSettings } from './config.js';
import { ternaryLowRankTerm, ternaryTerm } from './kinds.js';
import { groupOf, optionsOf, type Part, type Plan, plansOf } from './parts.js';
import { forEachKept, type Statistics, statistics } from './select.js';
import { setBit, zeros } from './words.js';

/** Up to this many numbers stay in memory between the passes; above, every pass reads them anew. */
const heldElements = 2 ** 26;

/** A group with what is left of its budget of ties, which runs through its tensors in order. */
interface Group extends Statistics {
  readonly scale: number;
  ties: number;
}

/** ComPEFT (Yadav et al. 2023, algorithm 1): the signs of the largest numbers of each group, with one magnitude. */
export async function* compressDelta(
  input: CompressInput<CompeftSettings>,
): AsyncGenerator<CompressEvent, Delta, void> {
  const { delta, c, kinds, signal } = input;
  const plans = holding(plansOf(delta, kinds));
  const parts = plans.flatMap((plan) => plan.parts);
  const groups = await groupsOf(parts, c, signal);
  for (const [name, { survivors, elements, scale }] of groups) {
    if (elements > 0 && (survivors === 0 || scale === 0))
      yield {
        type: 'warning',
        message: `Nothing of ${elements} numbers survives in the group "${name}": its update becomes 0.`,
      };
  }
  const params = new Map<string, readonly Term[]>();
  for (const [i, plan] of plans.entries()) {
    signal.throwIfAborted();
    const made: Scaled[] = [];
    for (const part of plan.parts) made.push(await signsOf(part, groups.get(groupOf(part, c.scope))!));
    params.set(plan.path, termsOf(plan, made));
    yield { type: 'tensor', path: plan.path, done: i + 1, total: plans.length };
  }
  return { shape: new Map(plans.map(({ path, shape }) => [path, shape])), params };
}

function termsOf(plan: Plan, made: readonly Scaled[]): Term[] {
  if (plan.factored.length === 0) return [ternaryTerm(made[0]!)];
  return plan.factored.map((term, i) => {
    const rank = term.tensors.a!.shape[0]!;
    const { scale, transposed = false, embedding = false } = optionsOf(term);
    return ternaryLowRankTerm({ a: made[2 * i]!, b: made[2 * i + 1]!, rank, scale, transposed, embedding });
  });
}

async function signsOf(part: Part, group: Group): Promise<Scaled> {
  const t = zeros(part.elements);
  const cut = { threshold: group.cut.threshold, ties: group.ties };
  group.ties = forEachKept(await part.read(), cut, (i, positive) => setBit(positive ? t.plus : t.minus, i));
  return { t, s: group.scale };
}

async function groupsOf(
  parts: readonly Part[],
  c: CompeftSettings,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Group>> {
  const members = new Map<string, Part[]>();
  for (const part of parts) {
    const name = groupOf(part, c.scope);
    const own = members.get(name);
    if (own) own.push(part);
    else members.set(name, [part]);
  }
  const groups = new Map<string, Group>();
  for (const [name, own] of members) {
    async function* read() {
      for (const part of own) {
        signal.throwIfAborted();
        yield await part.read();
      }
    }
    const found = await statistics(read, c.density, c.rule === 'official');
    if (!found)
      throw new PeftError(
        'ADAPTER_INVALID',
        `Numbers of ${names(own)} are NaN or infinite; they cannot be compressed.`,
      );
    const scale = Math.fround(c.alpha * (c.magnitude === 'deviation' ? found.deviation : found.meanSurvivor));
    groups.set(name, { ...found, scale, ties: found.cut.ties });
  }
  return groups;
}

/** The same plans; the numbers of a small delta are read once. */
function holding(plans: readonly Plan[]): readonly Plan[] {
  const elements = plans.reduce((sum, { parts }) => parts.reduce((n, part) => n + part.elements, sum), 0);
  return elements > heldElements ? plans : plans.map((plan) => ({ ...plan, parts: plan.parts.map(hold) }));
}

function hold(part: Part): Part {
  let held: Promise<Float32Array> | undefined;
  return {
    ...part,
    read() {
      held ??= part.read();
      return held;
    },
  };
}

const names = (parts: readonly Part[]): string => {
  const paths = [...new Set(parts.map(({ path }) => `"${path}"`))];
  return paths.length > 3 ? `${paths.slice(0, 3).join(', ')} and ${paths.length - 3} more` : paths.join(', ');
};
