import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { rules } from '../src/autodiff/rules.js';

it('docs/gradients.md lists exactly the operations that have a rule', () => {
  const text = readFileSync(new URL('../../../docs/gradients.md', import.meta.url), 'utf8');
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  const listed = rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`(\w+)`/g)].map((match) => match[1]!));
  expect(listed.sort()).toEqual(Object.keys(rules).sort());
});
