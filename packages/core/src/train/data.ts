import { isPeftError, PeftError } from '../errors.js';
import { sha256 } from '../files/digest.js';
import type { Example, Task } from './model.js';
import type { Watch } from './watch.js';

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

/**
 * Reads and encodes all rows. `name` is what messages call the data.
 * @throws PeftError DATA_INVALID listing the rows that cannot be used, or when there is none, CANCELLED
 */
export async function loadData<E extends Example>(
  rows: Rows,
  task: Task<E>,
  name: string,
  watch?: Watch,
): Promise<DataSet<E>> {
  const total = Array.isArray(rows) ? rows.length : undefined;
  const examples: E[] = [];
  const lines: string[] = [];
  const problems: string[] = [];
  let index = 0;
  for await (const row of rows) {
    await watch?.at(`reading the ${name}`, index, total);
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

/** SHA-256 of what a task made of rows. */
export const digestExamples = async (examples: readonly Example[]): Promise<string> =>
  `sha256:${await sha256(linesOf(examples))}`;

function* linesOf(examples: readonly Example[]): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  const plain = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value);
  for (const example of examples) yield encoder.encode(`${JSON.stringify(example, plain)}\n`);
}
