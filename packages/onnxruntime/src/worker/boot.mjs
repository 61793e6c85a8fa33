// Starts the worker from source: Node itself cannot load a TypeScript file as a worker.
import { register } from 'tsx/esm/api';

register();
await import('./main.ts');
