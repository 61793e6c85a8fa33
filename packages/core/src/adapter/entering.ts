import type { Dim } from '../graph/dim.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import { rowsOf } from './branch.js';
import { tensorName } from './names.js';
import type { Site } from './target.js';

/** A mask that the loop makes for every run: u8 [rows, width], 1 keeps. */
export interface DropoutInput {
  readonly name: string;
  readonly rows: Dim;
  readonly width: number;
  readonly p: number;
}

/** What enters a site, with dropout. Ids cannot be dropped: PEFT and loralib leave embeddings without dropout too. */
export function entering(site: Site, p: number, list: DropoutInput[], ops: Ops) {
  const x = rowsOf(site, ops);
  const dropped = p > 0 && site.target.kind !== 'embedding';
  return { x: dropped ? drop(x, site, p, list, ops) : x, dropped };
}

/** Inverted dropout with a mask from outside: x · mask / (1 - p). */
function drop(x: ShapedValue, { target }: Site, p: number, list: DropoutInput[], ops: Ops): ShapedValue {
  const [rows, width] = x.shape as readonly [Dim, number];
  const mask = ops.input(tensorName(target.path, 'dropout'), 'u8', [rows, width]);
  list.push({ name: mask.name, rows, width, p });
  return ops.mul(ops.mul(x, ops.cast(mask, x.dtype)), 1 / (1 - p));
}
