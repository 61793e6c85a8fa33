export { scripts as platform } from './scripts.js';
