import { randomAlgorithm } from '../tensor/random.js';
import type { Adapter, Term } from './delta.js';
import { contentDigest } from './digest.js';

// What kinds have in common whose updates follow from a seed.

export interface Seeded {
  /** What the seed gives: `matrices`. */
  readonly gives: string;
  /** What means nothing without it: `coefficients`. */
  readonly needing: string;
  /** How these follow from the seed: the version that is written, and all that are read. */
  readonly version: number;
  readonly versions: readonly unknown[];
}

/** What is wrong with the seed of a term, and with how it says that its numbers follow from it. */
export function seedProblems({ meta }: Term, { gives, needing, version, versions }: Seeded): string[] {
  const out: string[] = [];
  if (meta.seed === undefined) out.push(`it has no seed, and without it its ${needing} mean nothing`);
  else if (!/^\d{1,20}$/.test(String(meta.seed)) || BigInt(String(meta.seed)) >= 1n << 64n)
    out.push(`its seed ${meta.seed} is no integer from 0 to 2^64 - 1`);
  if (meta.algorithm !== randomAlgorithm || !versions.includes(meta.version))
    out.push(
      `its ${gives} are of ${meta.algorithm}, version ${meta.version}; this release makes those of ${randomAlgorithm}, version ${version}`,
    );
  if (typeof meta.fingerprint !== 'string') out.push('it has no fingerprint');
  return out;
}

/** The adapter with every update of `kind` made into another, and without what its method and file say of it. */
export async function materialized(
  adapter: Adapter,
  kind: string,
  made: (term: Term, shape: readonly number[]) => Promise<Term>,
): Promise<Adapter> {
  const { delta, replaced, method: _, peft: __, ...facts } = adapter;
  const params = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params) {
    const shape = delta.shape.get(path)!;
    params.set(path, await Promise.all(terms.map((term) => (term.kind === kind ? made(term, shape) : term))));
  }
  const content = { delta: { ...delta, params }, replaced };
  return { ...facts, ...content, digest: await contentDigest(content) };
}
