import { digestTensor, sha256 } from '../files/digest.js';
import type { TensorRef } from '../tensor/tensor.js';
import type { Adapter } from './delta.js';

/**
 * The identity of an adapter: SHA-256 over lines of JSON that say what it does to a base (every term and replacement
 * with its numbers, in the order of their names), whatever file it came from and whether the base was known when it was
 * read: how a parameter lies (`meta.transposed`) is the base's affair. Reads every tensor once.
 */
export async function contentDigest(content: Pick<Adapter, 'delta' | 'replaced'>): Promise<string> {
  const lines: unknown[] = ['peftjs adapter 1'];
  for (const [path, terms] of sorted(content.delta.params)) {
    for (const { kind, meta, tensors } of terms) {
      const parts = [];
      for (const [name, ref] of sorted(Object.entries(tensors))) parts.push([name, ...(await describe(ref))]);
      const { transposed: _, ...own } = meta;
      lines.push(['term', path, kind, sorted(Object.entries(own)), parts]);
    }
  }
  for (const [path, ref] of sorted(content.replaced)) lines.push(['replaced', path, ...(await describe(ref))]);
  return `sha256:${await sha256(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))}`;
}

const sorted = <T>(entries: Iterable<readonly [string, T]>): (readonly [string, T])[] =>
  [...entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));

const describe = async (ref: TensorRef) => [ref.dtype, ref.shape, await digestTensor(ref)] as const;
