import { definePlugin } from '@peftjs/core';
import { hft } from './hft/method.js';
import { IstConfig } from './ist/config.js';
import { ist } from './ist/ist.js';

export { HftConfig, type HftOptions, type HftSettings } from './hft/config.js';
export { hft } from './hft/method.js';
export { IstConfig, type IstOptions, type IstSettings } from './ist/config.js';
export { type DrawLayers, ist, type LayerDraw } from './ist/ist.js';

export default /* @__PURE__ */ definePlugin({
  spec: 'v1',
  name: '@peftjs/layerwise',
  methods: [hft],
  wrappers: [{ name: 'ist', paper: 'https://arxiv.org/abs/2410.11772', config: IstConfig, wrap: ist }],
});
