import { defineMethod, definePlugin, f32, PeftError, scalingTerm, type Target, tensorRef, toF32 } from '@peftjs/core';
import { Ia3Config, type Ia3Settings } from './config.js';
import * as math from './math.js';
import { requireFeedforward, requirePlaces, sideOf } from './side.js';

export { Ia3Config, type Ia3Options, type Ia3Settings } from './config.js';

/** Numbers of a target's vector. */
function lengthOf(target: Target, c: Ia3Settings): number {
  const side = sideOf(target, c);
  return side === undefined ? 0 : side === 'input' ? target.in : target.out;
}

const liesInOut = ({ kind }: Target): boolean => kind === 'conv1d';

/** (IA)³ (Liu et al. 2022): learned vectors that scale keys, values and what feed-forwards compute. */
export const ia3 = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'ia3',
  paper: 'https://arxiv.org/abs/2205.05638',
  layout: 'IA3',
  additive: false,
  kinds: ['linear', 'conv1d'],
  config: Ia3Config,

  checkShared({ bias, dropout }) {
    const problems: string[] = [];
    if (bias !== 'none') problems.push(`biases are scaled here, not trained: leave bias ${JSON.stringify(bias)} out`);
    if (dropout > 0) problems.push('scaled inputs have no dropout: leave dropout out');
    return problems;
  },

  async plan({ sites, start }) {
    const targets = sites.map(({ target }) => target);
    if (!start) requireFeedforward(targets, sites[0]!.c); // files may name more than they have
    requirePlaces(targets, sites[0]!.c);
    return new Map(sites.flatMap(({ target, c }) => (sideOf(target, c) ? [[target.path, {}] as const] : [])));
  },

  /** Ones: nothing changes. */
  init(target, c) {
    const n = lengthOf(target, c);
    if (n === 0)
      throw new PeftError('CONFIG_INVALID', `ia3: "${target.path}" has none of the paper's places: plan it first.`);
    return { train: { l: f32([n], new Float32Array(n).fill(1)) } };
  },

  rewrite({ target, c, p, x, y, parameters }, ops) {
    if (sideOf(target, c) === 'output') return math.scaledOutputs(y, p.l!, ops);
    const { weight: W, bias: b } = parameters;
    if (W) return math.scaledInputs(x, p.l!, { W, b, transposed: liesInOut(target) }, ops);
    throw new PeftError(
      'MODEL_UNSUPPORTED',
      `Scaling the inputs of "${target.path}" needs its weight by itself, and here it is that of another module. Leave the module out.`,
    );
  },

  toDelta({ target, c, p }) {
    const l = tensorRef(p.l!);
    const side = sideOf(target, c)!;
    const weight = scalingTerm(l, { side, transposed: liesInOut(target) });
    return { weight, ...(side === 'output' && { bias: scalingTerm(l, { side }) }) };
  },

  async fromDelta({ terms, target, c }) {
    const term = terms.weight!;
    const wanted = sideOf(target, c)!;
    if (term.kind !== 'scaling' || term.meta.side !== wanted)
      throw new PeftError(
        'ADAPTER_MISMATCH',
        `"${target.path}": its update is ${term.kind === 'scaling' ? `a scaling of its ${term.meta.side}s` : `of kind ${term.kind}`}, this configuration scales its ${wanted}s. Set feedforwardModules as it was trained.`,
      );
    return { l: toF32(await term.tensors.vector!.read()) };
  },

  size: lengthOf,
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/ia3', methods: [ia3] });
