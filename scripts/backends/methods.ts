import { type Backend, isPeftError } from '@peftjs/core';
import { allMethods } from '../methods.js';
import { losses, tinyRun } from './losses.js';
import { shown, type Table } from './table.js';

/** Method × backend: what the first backend's loss falls to, and how far the losses of the others are from its. */
export async function methodTable(backends: ReadonlyMap<string, Backend>): Promise<Table> {
  const run = await tinyRun();
  const [[first, reference], ...others] = [...backends] as [[string, Backend], ...[string, Backend][]];
  const rows: string[][] = [['method', first, ...others.map(([name]) => name)]];
  for (const bind of await allMethods()) {
    const expected = await losses(run, bind, reference);
    const cells = [`${expected[0]!.toFixed(4)} → ${expected.at(-1)!.toFixed(4)}`];
    for (const [, backend] of others) cells.push(await difference(losses(run, bind, backend), expected));
    rows.push([`\`${bind.method.name}\``, ...cells]);
    console.error(rows.at(-1)!.join(' | '));
  }
  return rows;
}

/** The largest difference; a dash where the backend refuses something by name, which is printed. */
async function difference(found: Promise<readonly number[]>, expected: readonly number[]): Promise<string> {
  try {
    return shown(Math.max(...(await found).map((loss, step) => Math.abs(loss - expected[step]!))));
  } catch (error) {
    if (!isPeftError(error) || error.code !== 'BACKEND_UNSUPPORTED') throw error;
    console.error(error.message);
    return '–';
  }
}
