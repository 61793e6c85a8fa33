import type { Graph } from '../graph/graph.js';
import { optimize } from '../graph/passes/optimize.js';
import type { Backend, CompileOptions, Program } from './backend.js';

/** Compiles a graph that is complete: the exact rewrites of `optimize` are done first, in place. */
export function compileGraph(backend: Backend, graph: Graph, options: CompileOptions = {}): Promise<Program> {
  optimize(graph);
  return backend.compile(graph, options);
}
