import { definePlugin } from '@peftjs/core';
import { sft } from './lt-sft/method.js';
import { spiel } from './spiel/method.js';

export { SftConfig, type SftOptions, type SftSettings } from './lt-sft/config.js';
export { sft } from './lt-sft/method.js';
export { SpielConfig, type SpielOptions, type SpielSettings } from './spiel/config.js';
export { spiel } from './spiel/method.js';

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/sft', methods: [sft, spiel] });
