import {
  defineMethod,
  f32,
  floats,
  loraFileNames,
  lowRank,
  lowRankTerm,
  type Params,
  type Tensor,
  tensorRef,
} from '@peftjs/core';
import { adamwBySlot } from './adamw-by-slot.js';
import { fullRank, IncreloraConfig, largestRank, slotsOf } from './config.js';
import { firstSlots, grow } from './growth.js';
import * as math from './math.js';
import { savedPieces } from './saved.js';

const whole = adamwBySlot({ live: 'present' });
const onlyGrown = adamwBySlot({ live: 'grown' });

/** Incremental parameter allocation: modules that matter get more rank while they train (Zhang et al. 2023). */
export const increlora = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'increlora',
  paper: 'https://arxiv.org/abs/2308.12043',
  layout: 'LORA',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: IncreloraConfig,
  fileNames: loraFileNames,

  check(target, c) {
    const [largest, full] = [largestRank(c, target), fullRank(target)];
    const problems: string[] = [];
    if (c.initialRank > c.targetRank)
      problems.push(`it cannot grow from initialRank ${c.initialRank} to targetRank ${c.targetRank}`);
    if (c.targetRank > full) problems.push(`its matrix has rank ${full} at most, targetRank is ${c.targetRank}`);
    else if (largest < c.targetRank) problems.push(`maxRank ${largest} leaves no room for targetRank ${c.targetRank}`);
    if (largest > full) problems.push(`its matrix has rank ${full} at most, maxRank is ${largest}`);
    return problems;
  },

  /** A, B ~ N(0, 0.02) and E = 0 for the first pieces; the others wait in their slots. */
  init(target, c, rng) {
    const slots = slotsOf(c, target);
    const zero = f32([], [0]);
    return {
      train: {
        a: rng.fork('a').normal([slots, target.in], 0, 0.02),
        b: rng.fork('b').normal([slots, target.out], 0, 0.02),
        e: f32(
          [slots],
          Float32Array.from({ length: slots }, (_, i) => (i < c.initialRank ? 0 : math.reserveE)),
        ),
      },
      held: {
        grown: firstSlots(slots, c.initialRank),
        present: firstSlots(slots, c.initialRank),
        importance: zero,
        uncertainty: zero,
      },
    };
  },

  shared: () => ({ train: {}, held: { spare: f32([], [math.reserveE]) } }),

  delta: ({ p, c }, ops) => math.delta(p, c.alpha, ops),
  apply: ({ x, p, c }, ops) => math.apply(x, p, c.alpha, ops),

  toDelta({ p, target, c }) {
    const rank = floats(p.grown!).reduce((sum, one) => sum + one, 0);
    const tensors = factors(p, target);
    return { weight: lowRankTerm(tensors, { scale: math.scale(c.alpha, rank), transposed: target.kind === 'conv1d' }) };
  },

  fromKinds: [lowRank.kind],
  fromDelta: ({ terms, target, c, fresh }) => savedPieces(terms.weight!, { target, c, fresh }),

  size: (target, c) => slotsOf(c, target) * (target.in + target.out + 1),

  rule({ name, shape }) {
    if (name === 'e') return { optimizer: onlyGrown };
    return shape.length === 2 && (name === 'a' || name === 'b') ? { optimizer: whole } : {};
  },

  penalty({ sites, c }, ops) {
    if (c.orthogonality === 0) return undefined;
    const parts = sites.flatMap(({ p }) => [p.a!, p.b!].map((P) => ({ P, present: p.present! })));
    const sums = parts.map(({ P, present }) =>
      c.variant === 'paper' ? math.orthogonal(P, present, ops) : math.apart(P, present, c.initialRank, ops),
    );
    const sum = sums.reduce((a, b) => ops.add(a, b));
    if (c.variant === 'paper') return ops.mul(sum, c.orthogonality / parts.length);
    // The mean over pieces, of which there are more and more: one for the first r, one for each later.
    const slots = parts
      .map(({ present }) => ops.sum(present, [0], { keepdims: false }))
      .reduce((a, b) => ops.add(a, b));
    const pieces = ops.add(slots, parts.length * (1 - c.initialRank));
    return ops.mul(ops.div(sum, pieces), c.orthogonality);
  },

  observe: {
    values({ p, target, c, dW }, ops) {
      const change = math.delta(p, c.alpha, ops);
      const inLayout = target.kind === 'conv1d' ? ops.transpose(change, [1, 0]) : change;
      return { score: math.score(inLayout, dW, ops) };
    },
  },

  onStep: grow,
});

/** The pieces that act, E folded into A: what plain LoRA holds. */
function factors(p: Params<Tensor>, target: { readonly in: number; readonly out: number }) {
  const [grown, present, e] = [floats(p.grown!), floats(p.present!), floats(p.e!)];
  const spare = floats(p.spare!)[0]!;
  const E = [...grown].map((on, i) => (on ? e[i]! : present[i] ? spare : 0));
  const acting = [...E.keys()].filter((i) => grown[i] || E[i] !== 0);
  const r = acting.length;
  const a = new Float32Array(r * target.in);
  const b = new Float32Array(target.out * r);
  acting.forEach((slot, k) => {
    for (let i = 0; i < target.in; i++) a[k * target.in + i] = E[slot]! * floats(p.a!)[slot * target.in + i]!;
    for (let o = 0; o < target.out; o++) b[o * r + k] = floats(p.b!)[slot * target.out + o]!;
  });
  return { a: tensorRef(f32([r, target.in], a)), b: tensorRef(f32([target.out, r], b)) };
}
