import { defineMethod, denseTerm, tensorRef, zeros } from '@peftjs/core';
import { budgetOf } from '../budget.js';
import { indicesOf, patched, savedTerm } from '../coordinates.js';
import { SftConfig } from './config.js';
import { nextPhase, phasesOf } from './phases.js';
import { l1 } from './regularization.js';
import { goesOn, savedChanges, savedTargets, sparseStart } from './resume.js';
import { changeable, sizeOf, takesPart } from './scope.js';

/**
 * Lottery-ticket sparse fine-tuning (Ansell et al. 2022). In the full phase a target's tensors are the changes of its
 * parameters, by name; in the sparse phase the k changed numbers of each and their indices.
 */
export const sft = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'sft',
  paper: 'https://arxiv.org/abs/2110.07560',
  layout: 'PEFTJS',
  additive: true,
  kinds: ['linear', 'conv1d', 'embedding', 'vector'],
  config: SftConfig,
  defaults: { targetModules: 'all' },

  /** A bias trained in full has no sparse change beside it. */
  checkShared: ({ bias, biases, layerNorms }) =>
    bias !== 'none' && (biases || layerNorms)
      ? [
          `bias is "${bias}", but ${biases ? 'biases' : 'layerNorms'}: true changes single numbers of them: leave bias out, or set biases and layerNorms to false`,
        ]
      : [],

  /** An adapter to train on is the selection: its numbers go on, and no others. */
  async plan({ sites, start }) {
    const taken = sites.filter(({ target, c }) => takesPart(target, c));
    if (start) return savedTargets(taken, start);
    const all = taken.reduce((sum, { target, c }) => sum + sizeOf(target, c), 0);
    const [first] = taken;
    if (first) budgetOf('sft', first.c, all, first.c.iterations);
    return new Map(taken.map(({ target }) => [target.path, {}]));
  },

  init(target, c, _rng, given) {
    if (Object.keys(given).length > 0) return sparseStart(given);
    const changes = Object.entries(changeable(target, c)).map(([name, shape]) => [name, zeros(shape)] as const);
    return { train: Object.fromEntries(changes) };
  },

  weight({ W, name, p }, ops) {
    const change = p[name];
    const indices = p[indicesOf(name)];
    if (!change) return W;
    return indices ? patched(W, indices, change, ops) : ops.add(W, change);
  },

  toDelta({ p, target, c }) {
    const own = Object.entries(changeable(target, c)).filter(([name]) => p[name]);
    return Object.fromEntries(
      own.map(([name, shape]) => [
        name,
        p[indicesOf(name)] ? savedTerm(p, name, shape) : denseTerm(tensorRef(p[name]!)),
      ]),
    );
  },

  fromDelta: ({ terms, target }) => savedChanges(terms, target),

  size: (target, c) => (goesOn(c) ? c.count! : sizeOf(target, c)),
  penalty: l1,
  phases: phasesOf,
  next: nextPhase,
});
