import { definePlugin } from '@peftjs/core';
import { galore } from './galore/method.js';
import { increlora } from './increlora/method.js';
import { relora } from './relora/method.js';

export { GaloreConfig, type GaloreOptions, type GaloreSettings } from './galore/config.js';
export { galore } from './galore/method.js';
export { IncreloraConfig, type IncreloraOptions, type IncreloraSettings } from './increlora/config.js';
export { increlora } from './increlora/method.js';
export { ReloraConfig, type ReloraOptions, type ReloraSettings } from './relora/config.js';
export { relora } from './relora/method.js';

export default /* @__PURE__ */ definePlugin({
  spec: 'v1',
  name: '@peftjs/rank-schedules',
  methods: [increlora, relora, galore],
});
