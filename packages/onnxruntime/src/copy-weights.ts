import { bytesOf, cast, type Graph } from '@peftjs/core';
import type { Placement } from './platform/platform.js';

/** Every weight read into memory, beside the model's bytes: for runtimes that map no files. */
export async function copyWeights(graph: Graph, signal?: AbortSignal): Promise<Placement> {
  const files: { path: string; data: Uint8Array }[] = [];
  const external = new Map<string, { location: string; offset: number; length: number }>();
  for (const [name, ref] of graph.weights) {
    const data = bytesOf(cast(await ref.read({ signal }), graph.values.get(name)!.dtype));
    if (data.length === 0) continue;
    const location = `weight${files.length}`;
    files.push({ path: location, data });
    external.set(name, { location, offset: 0, length: data.length });
  }
  return { external, files };
}
