export { createEngine } from './engine/engine.js';
export type { EngineOptions } from './engine/options.js';
export type { BatchInfo } from './engine/scheduler.js';
export type {
  AdapterInfo,
  Adapters,
  Classifications,
  Embeddings,
  Engine,
  EngineEvent,
  EngineState,
  EngineTask,
  GenerateOptions,
  Generation,
  Input,
  Message,
  ReadOptions,
  TokenEvent,
} from './engine/types.js';
export { createServer, type Listening, type PeftServer, type ServerOptions } from './http/server.js';
