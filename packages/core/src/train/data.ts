import { isPeftError, PeftError } from '../errors.js';
import type { Example, Task } from './model.js';

export type Row = Readonly<Record<string, string>>;
export type Rows = Iterable<Row> | AsyncIterable<Row>;

/** Unusable rows that a message names; the rest are counted. */
const listed = 20;

/** A data set in memory, encoded, with the digest of its rows. */
export interface DataSet<E extends Example> {
  readonly examples: readonly E[];
  /** SHA-256 of the rows in their order. */
  readonly digest: string;
}

async function sha256(text: string): Promise<string> {
  const hash = await globalThis.crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Reads and encodes all rows. `name` is what messages call the data.
 * @throws PeftError DATA_INVALID listing the rows that cannot be used, or when there is none
 */
export async function loadData<E extends Example>(rows: Rows, task: Task<E>, name: string): Promise<DataSet<E>> {
  const examples: E[] = [];
  const lines: string[] = [];
  const problems: string[] = [];
  let index = 0;
  for await (const row of rows) {
    try {
      const example = task.encode(row, index);
      await task.check?.(example);
      examples.push(example);
    } catch (error) {
      if (!isPeftError(error) || error.code !== 'DATA_INVALID') throw error;
      problems.push(error.message);
    }
    lines.push(JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1))));
    index++;
  }
  if (problems.length > 0) {
    const rest = problems.length - listed;
    const shown = [...problems.slice(0, listed), ...(rest > 0 ? [`and ${rest} more rows.`] : [])];
    throw new PeftError('DATA_INVALID', `The ${name} cannot be used:\n- ${shown.join('\n- ')}`, {
      details: { problems },
    });
  }
  if (examples.length === 0) throw new PeftError('DATA_INVALID', `The ${name} has no rows.`);
  return { examples, digest: `sha256:${await sha256(lines.join('\n'))}` };
}
