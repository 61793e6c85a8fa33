import {
  blockTerm,
  defineMethod,
  definePlugin,
  type Params,
  PeftError,
  type Target,
  type Tensor,
  tensorRef,
  toF32,
  transposed as turned,
} from '@peftjs/core';
import { S2ftConfig, type S2ftSettings } from './config.js';
import { applyColumns, applyRows, delta } from './math.js';
import { scoresOf } from './scores.js';
import { type Candidate, choose } from './select.js';
import { spread, type Units, unitsOf } from './units.js';

export { S2ftConfig, type S2ftOptions, type S2ftSettings } from './config.js';

const i64 = (values: readonly number[]): Tensor => ({
  dtype: 'i64',
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** Where each of `extent` indices stands among the chosen ones; their number for those outside. */
function placesOf(indices: readonly number[], extent: number): Tensor {
  const place = new Array<number>(extent).fill(indices.length);
  indices.forEach((index, k) => {
    place[index] = k;
  });
  return i64(place);
}

const numbersOf = (indices: Tensor): number[] => Array.from(indices.data as BigInt64Array, Number);

/** Rows or columns that the plan will give this target on average: what is known before it has chosen. */
const expected = (c: S2ftSettings, count: number, width: number): number =>
  c.channels ?? Math.round(c.ratio * count) * width;

/** The units of a target that the configuration trains. */
const taken = (target: Target, { roles }: S2ftSettings): Units | undefined =>
  roles.some((role) => role === target.role) ? unitsOf(target) : undefined;

/** Structured sparse fine-tuning: whole heads and channels, trained as dense blocks (Yang et al. 2024). */
export const s2ft = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 's2ft',
  paper: 'https://arxiv.org/abs/2412.06289',
  layout: 'PEFTJS',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: S2ftConfig,
  patterns: { ratio: 'ratioPattern' },

  check(target, c) {
    const units = taken(target, c);
    if (!units) return [];
    const problems: string[] = [];
    const extent = units.count * units.width;
    if (c.channels !== undefined && c.channels > extent)
      problems.push(`it has ${extent} ${units.axis === 0 ? 'rows' : 'columns'}, channels is ${c.channels}`);
    if (c.channels !== undefined && c.channels % units.width !== 0)
      problems.push(`its heads are ${units.width} wide, channels is ${c.channels}: take whole heads`);
    if (c.select === 'activation' && units.axis === 0)
      problems.push(
        'activations score what a module reads, and its channels are what it writes: choose another select',
      );
    return problems;
  },

  /** Roles with one ratio compete over all layers together, as in the authors' code. */
  async plan(look) {
    const sites = look.sites.filter(({ target, c }) => taken(target, c));
    if (sites.length === 0) {
      const found = [...new Set(look.sites.map(({ target }) => target.role ?? 'none'))].join(', ');
      throw new PeftError(
        'TARGETS_UNMATCHED',
        `s2ft: no target has one of the roles ${look.sites[0]!.c.roles.join(', ')}; theirs are ${found}. Set roles, or other targetModules.`,
      );
    }
    const groups = new Map<string, typeof sites>();
    for (const site of sites) {
      const { target, c } = site;
      const key = c.channels === undefined ? `${target.role} ${c.ratio}` : target.path;
      groups.set(key, [...(groups.get(key) ?? []), site]);
    }
    const chosen = new Map<string, { c: { channels: number }; tensors: Params<Tensor> }>();
    for (const [key, group] of groups) {
      const { c } = group[0]!;
      const scores = await scoresOf(group, look, c.select, c.batches, look.rng.fork(key));
      const candidates: Candidate[] = group.flatMap(({ target: { path } }) =>
        [...scores.get(path)!].map((score, unit) => ({ path, unit, score })),
      );
      const { width } = unitsOf(group[0]!.target)!;
      const k = c.channels === undefined ? Math.floor(candidates.length * c.ratio) : c.channels / width;
      const picked = choose(candidates, k, c.largest);
      for (const { target } of group) {
        const own = picked.get(target.path);
        if (!own) continue;
        const indices = spread(own, unitsOf(target)!);
        chosen.set(target.path, { c: { channels: indices.length }, tensors: { indices: i64(indices) } });
      }
    }
    return chosen;
  },

  init(target, _c, _rng, given) {
    const { indices } = given;
    if (!indices)
      throw new PeftError('CONFIG_INVALID', `s2ft: nothing has chosen channels of "${target.path}": plan it first.`);
    const { axis } = unitsOf(target)!;
    const k = indices.shape[0]!;
    const shape = axis === 0 ? [k, target.in] : [target.out, k];
    const v: Tensor = { dtype: 'f32', shape, data: new Float32Array(shape[0]! * shape[1]!) };
    const place = placesOf(numbersOf(indices), axis === 0 ? target.out : target.in);
    return { train: { v }, frozen: { indices, place } };
  },

  delta: ({ p, target }, ops) => delta(p.v!, p.place!, unitsOf(target)!.axis, ops),

  apply({ x, p, target }, ops) {
    const apply = unitsOf(target)!.axis === 0 ? applyRows : applyColumns;
    return apply(x, p.v!, p.indices!, p.place!, ops);
  },

  toDelta({ p, target }) {
    const { axis } = unitsOf(target)!;
    const transposed = target.kind === 'conv1d';
    const block = transposed ? turned(toF32(p.v!)) : p.v!;
    const along = (transposed ? 1 - axis : axis) as 0 | 1;
    const tensors = { indices: tensorRef(p.indices!), block: tensorRef(block) };
    return { weight: blockTerm(tensors, { axis: along, transposed }) };
  },

  fromKinds: ['block'],
  async fromDelta({ terms, target }) {
    const { axis } = unitsOf(target)!;
    const indices = i64(Array.from((await terms.weight!.tensors.indices!.read()).data as BigInt64Array, Number));
    const block = toF32(await terms.weight!.tensors.block!.read());
    const v = target.kind === 'conv1d' ? turned(block) : block;
    const scale = Number(terms.weight!.meta.scale);
    return {
      v: { ...v, data: scale === 1 ? v.data : v.data.map((x) => x * scale) },
      indices,
      place: placesOf(numbersOf(indices), axis === 0 ? target.out : target.in),
    };
  },

  size(target, c) {
    const units = taken(target, c);
    if (!units) return 0;
    const { axis, count, width } = units;
    return expected(c, count, width) * (axis === 0 ? target.in : target.out);
  },
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/s2ft', methods: [s2ft] });
