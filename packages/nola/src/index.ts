import { defineMethod, definePlugin, loraFileNames, lowRankTerm, tensorRef } from '@peftjs/core';
import { NolaConfig, type NolaSettings } from './config.js';
import { apply, delta } from './math.js';

export { NolaConfig, type NolaOptions, type NolaSettings } from './config.js';

const scale = (c: NolaSettings) => c.alpha / c.r;

/** One sentence: what it does. The paper, its year. */
export const nola = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: 'nola',
  paper: 'https://arxiv.org/abs/2106.09685',
  layout: 'LORA',
  additive: true,
  kinds: ['linear'],
  config: NolaConfig,
  fileNames: loraFileNames,
  init: (target, c, rng) => ({
    train: {
      a: rng.fork('a').uniform([c.r, target.in], -1 / Math.sqrt(target.in), 1 / Math.sqrt(target.in)), // r × in
      b: { dtype: 'f32', shape: [target.out, c.r], data: new Float32Array(target.out * c.r) }, // out × r: ΔW starts at 0
    },
  }),
  delta: ({ p, c }, ops) => delta(p.a!, p.b!, scale(c), ops),
  apply: ({ x, p, c }, ops) => apply(x, p.a!, p.b!, scale(c), ops),
  toDelta: ({ p, c }) => ({ weight: lowRankTerm({ a: tensorRef(p.a!), b: tensorRef(p.b!) }, { scale: scale(c) }) }),
  size: (target, c) => c.r * (target.in + target.out),
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/nola', methods: [nola] });
