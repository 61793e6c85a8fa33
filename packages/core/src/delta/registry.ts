import { PeftError } from '../errors.js';
import type { Kind, Term } from './delta.js';
import { block } from './kinds/block.js';
import { dense } from './kinds/dense.js';
import { dora } from './kinds/dora.js';
import { lowRank } from './kinds/low-rank.js';
import { mask } from './kinds/mask.js';
import { rows } from './kinds/rows.js';
import { scaling } from './kinds/scaling.js';
import { sparse } from './kinds/sparse.js';
import { vera } from './kinds/vera.js';
import { requireStamp } from './stamp.js';

/** Kinds of terms by name: a value that is passed on, never a global. */
export type Kinds = ReadonlyMap<string, Kind>;

/** What core brings. */
export const builtinKinds: Kinds = new Map(
  [lowRank, dense, sparse, block, rows, dora, mask, scaling, vera].map((kind) => [kind.kind, kind]),
);

/** The built-in kinds and those of other packages. @throws PeftError PLUGIN_INCOMPATIBLE */
export function withKinds(...outside: readonly Kind[]): Kinds {
  const kinds = new Map(builtinKinds);
  for (const kind of outside) {
    requireStamp(kind, 'kind', 'v1', `The delta kind "${kind.kind}"`);
    kinds.set(kind.kind, kind);
  }
  return kinds;
}

/** @throws PeftError CONFIG_UNSUPPORTED when no package that was given knows the term's kind */
export function kindOf(term: Term, kinds: Kinds): Kind {
  const kind = kinds.get(term.kind);
  if (kind) return kind;
  throw new PeftError(
    'CONFIG_UNSUPPORTED',
    `Nothing here understands updates of kind "${term.kind}" (known: ${[...kinds.keys()].join(', ')}). Pass the package that defines it.`,
    { details: { kind: term.kind, known: [...kinds.keys()] } },
  );
}
