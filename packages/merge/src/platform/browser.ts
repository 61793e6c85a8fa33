import type { Platform } from './platform.js';

export const platform: Platform = { processors: 1 };
