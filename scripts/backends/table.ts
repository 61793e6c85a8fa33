import { readFileSync, writeFileSync } from 'node:fs';

const page = new URL('../../docs/backends.md', import.meta.url);

/** Rows of cells, the head first. */
export type Table = readonly (readonly string[])[];

/** What a number that should be small is shown as. */
export const shown = (difference: number): string => (difference === 0 ? '0' : difference.toExponential(0));

/** Puts a table where the page has the one whose head begins with the same cell, and prints it. */
export function putTable(table: Table): void {
  const [head, ...rows] = table;
  const lines = [head!, head!.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const text = readFileSync(page, 'utf8');
  const place = new RegExp(`^\\| ${head![0]} [^\\n]*(\\n\\|[^\\n]*)*`, 'm');
  if (!place.test(text)) throw new Error(`docs/backends.md has no table that begins with "${head![0]}".`);
  writeFileSync(
    page,
    text.replace(place, () => lines),
  );
  console.log(lines);
}
