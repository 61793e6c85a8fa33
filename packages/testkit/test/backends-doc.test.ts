import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { buildCase, cases } from '../src/cases/index.js';

it('docs/backends.md measures every operation that the cases have', () => {
  const text = readFileSync(new URL('../../../docs/backends.md', import.meta.url), 'utf8');
  const [operations] = text.split('\n## ');
  const listed = [...operations!.matchAll(/^\| `(\w+)`/gm)].map(([, op]) => op!);
  const graphs = cases.map((test) => buildCase({ ...test, forwardOnly: true }).graph);
  expect(listed).toEqual([...new Set(graphs.flatMap(({ nodes }) => nodes.map(({ op }) => op)))].sort());
});
