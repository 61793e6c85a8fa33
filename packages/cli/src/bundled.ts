import type { Plugin } from '@peftjs/core';

/** Packages that this one depends on, with what they bring; loaded when a command needs them. */
export const bundled: readonly (() => Promise<{ readonly default: Plugin }>)[] = [
  () => import('@peftjs/lora'),
  () => import('@peftjs/sora'),
  () => import('@peftjs/nola'),
  () => import('@peftjs/sft'),
  () => import('@peftjs/compeft'),
  () => import('@peftjs/bitdelta'),
  () => import('@peftjs/merge'),
  () => import('@peftjs/s2ft'),
  () => import('@peftjs/dsee'),
  () => import('@peftjs/rank-schedules'),
  () => import('@peftjs/layerwise'),
  () => import('@peftjs/compacter'),
  () => import('@peftjs/intrinsic'),
  () => import('@peftjs/pst'),
  () => import('@peftjs/sara'),
  () => import('@peftjs/zeroth-order'),
  () => import('@peftjs/ia3'),
  () => import('@peftjs/vera'),
];
