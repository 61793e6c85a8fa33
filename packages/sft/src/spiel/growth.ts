import {
  floats,
  graphIndices,
  largest,
  type NamedTensors,
  numbersOf,
  type Params,
  type StepEdit,
  type StepEnd,
  type Target,
  type Tensor,
  tensorName,
} from '@peftjs/core';
import { indicesOf } from '../coordinates.js';
import type { SpielSettings } from './config.js';
import { gather, gathered, vector } from './gather.js';
import { carriedOver, type Reselected, reselect } from './reselect.js';
import { gathers, replacedShare, reselects, samplesOf } from './windows.js';

type End = StepEnd<SpielSettings>;

/** Tensors of one target by letter; the optimizer's state by the letter after that of the values. */
async function readSite({ read }: End, { path }: Target, letters: readonly string[]): Promise<Params<Tensor>> {
  const found = await read(letters.map((letter) => tensorName(path, letter)));
  return Object.fromEntries(letters.map((letter) => [letter, found.get(tensorName(path, letter))!]));
}

/** The coordinates of a target after a reselection, or undefined where the share of them is less than one. */
function replaced(
  { clock }: End,
  c: SpielSettings,
  p: Params<Tensor>,
  grow: Parameters<typeof reselect>[2],
): Reselected | undefined {
  const values = floats(p.weight!);
  const count = Math.trunc(values.length * replacedShare(clock, c));
  return count === 0 ? undefined : reselect({ indices: numbersOf(p[indicesOf('weight')]!), values }, count, grow);
}

/**
 * SpIEL-AG (Ansell et al. 2024, section 3.2): the candidates with the largest |Σ g| grow, with moments as if they had
 * been trained with these gradients.
 */
async function byGradients(end: End): Promise<Changes> {
  const { clock, sites } = end;
  const changes = new Map<string, Params<Tensor>>();
  let count = 0;
  for (const { target, c } of sites) {
    if (!gathers(clock, c)) continue;
    const p = await readSite(end, target, Object.values(gathered));
    const now = gather(end, c, target.path, p);
    changes.set(target.path, now);
    if (!reselects(clock, c)) continue;
    const letters = ['weight', indicesOf('weight'), 'weight:m', 'weight:v', 'weight:age'];
    const old = await readSite(end, target, letters);
    const candidates = numbersOf(now[gathered.candidates]!);
    const [sum, squares] = [floats(now[gathered.sum]!), floats(now[gathered.squares]!)];
    const next = replaced(end, c, old, (stays, most) => {
      const scores = (k: number) => (stays.has(candidates[k]!) ? Number.NEGATIVE_INFINITY : Math.abs(sum[k]!));
      return largest([{ length: candidates.length, at: scores }], most)[0]!.map((k) => candidates[k]!);
    });
    if (!next) continue;
    count += freshIn(next);
    const slot = new Map(Array.from(candidates, (index, k) => [index, k]));
    const samples = samplesOf(clock, c);
    const [beta1, beta2] = c.betas;
    const mean = (of: Float32Array, beta: number) => (index: number) =>
      (of[slot.get(index)!]! / samples) * (1 - beta ** samples);
    changes.set(target.path, {
      ...now,
      ...moved(next, old),
      'weight:m': vector(carriedOver(next, floats(old['weight:m']!), mean(sum, beta1))),
      'weight:v': vector(carriedOver(next, floats(old['weight:v']!), mean(squares, beta2))),
      'weight:age': vector(carriedOver(next, floats(old['weight:age']!), () => samples)),
    });
  }
  return { changes, count };
}

/** SpIEL-MA: the entries with the largest products of SM3's row and column accumulators grow, none of those dropped. */
async function byMomentum(end: End): Promise<Changes> {
  const changes = new Map<string, Params<Tensor>>();
  let count = 0;
  for (const { target, c } of end.sites) {
    if (!reselects(end.clock, c)) continue;
    const old = await readSite(end, target, ['weight', indicesOf('weight'), 'weight:row', 'weight:column']);
    const [row, column] = [floats(old['weight:row']!), floats(old['weight:column']!)];
    const columns = column.length;
    const at = (i: number) => row[Math.trunc(i / columns)]! * column[i % columns]!;
    const active = new Set(Array.from(numbersOf(old[indicesOf('weight')]!)));
    const next = replaced(end, c, old, (_, most) => {
      // The largest of all, as many as surely hold the largest of those that are not active.
      const best = largest([{ length: row.length * columns, at }], most + active.size)[0]!;
      const free = best.filter((i) => !active.has(i));
      return largest([{ length: free.length, at: (k) => at(free[k]!) }], most)[0]!.map((k) => free[k]!);
    });
    if (!next) continue;
    count += freshIn(next);
    changes.set(target.path, moved(next, old));
  }
  return { changes, count };
}

interface Changes {
  readonly changes: ReadonlyMap<string, Params<Tensor>>;
  /** Coordinates replaced. */
  readonly count: number;
}

const freshIn = ({ from }: Reselected): number => from.filter((i) => i < 0).length;

const moved = (next: Reselected, { weight }: Params<Tensor>): Params<Tensor> => ({
  weight: vector(carriedOver(next, floats(weight!))),
  [indicesOf('weight')]: graphIndices(next.indices),
});

/** What follows an update: gathering, and after the last of a window the reselection. */
export async function grown(end: End): Promise<StepEdit | undefined> {
  const { criterion } = end.sites[0]!.c;
  const { changes, count } = await (criterion === 'ag' ? byGradients : byMomentum)(end);
  if (changes.size === 0) return undefined;
  const set: NamedTensors = new Map(
    [...changes].flatMap(([path, tensors]) =>
      Object.entries(tensors).map(([letter, tensor]) => [tensorName(path, letter), tensor] as const),
    ),
  );
  return { set, ...(count > 0 && { note: `${count} coordinates were replaced` }) };
}
