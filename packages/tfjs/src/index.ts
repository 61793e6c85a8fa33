export { tfjs } from './backend.js';
export type { Device, TfjsOptions } from './options.js';
