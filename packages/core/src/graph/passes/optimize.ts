import { prune } from '../edit.js';
import type { Graph } from '../graph.js';
import { foldAdds } from './fold-adds.js';
import { foldScalars } from './fold-scalars.js';

/**
 * The exact rewrites done once a graph is complete, in place: unneeded nodes go, numbers and sums move into matrix
 * products. Derivatives declared for groups of nodes are dropped, so differentiate before.
 */
export function optimize(graph: Graph): void {
  graph.macros.clear();
  prune(graph);
  foldScalars(graph);
  foldAdds(graph);
  prune(graph);
}
