import { snakeCase } from './names.js';

export interface Streams {
  /** Data. */
  readonly stdout: { write(text: string): unknown };
  /** Talk. */
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number };
}

/** Where a command's words go: data to standard output, talk to standard error. */
export interface Output {
  readonly json: boolean;
  /** One JSON line on standard output under `--json`; its fields in snake_case. */
  event(event: string, fields?: Readonly<Record<string, unknown>>): void;
  /** Data for people, on standard output; nothing under `--json`. */
  data(text: string): void;
  /** A line on standard error; nothing under `--quiet`. */
  talk(text: string): void;
  /** A line that is written over, on a terminal only; with a bar where the share that is done (0 to 1) is known. */
  progress(text: string, done?: number): void;
}

/** Fields of an event as they are printed: camelCase becomes snake_case at the top level, maps become objects. */
export const printed = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).map(([key, value]) => [snakeCase(key), value]));

const BAR = 24;

const bar = (done: number): string => {
  const full = Math.round(Math.min(1, Math.max(0, done)) * BAR);
  return `${'█'.repeat(full)}${'░'.repeat(BAR - full)} ${String(Math.floor(done * 100)).padStart(3)} %  `;
};

const ERASE_LINE = '\r\u001b[2K';

export function createOutput({ stdout, stderr }: Streams, options: { json: boolean; quiet: boolean }): Output {
  const live = stderr.isTTY === true && !options.quiet;
  let shown = false;
  const erase = () => {
    if (shown) stderr.write(ERASE_LINE);
    shown = false;
  };
  return {
    json: options.json,
    event(event, fields = {}) {
      if (!options.json) return;
      erase();
      stdout.write(`${JSON.stringify({ event, ...printed(fields) }, plain)}\n`);
    },
    data(text) {
      if (options.json) return;
      erase();
      stdout.write(`${text}\n`);
    },
    talk(text) {
      if (options.quiet) return;
      erase();
      stderr.write(`${text}\n`);
    },
    progress(text, done) {
      if (!live) return;
      const line = done === undefined ? text : bar(done) + text;
      stderr.write(`${ERASE_LINE}${line.slice(0, (stderr.columns ?? 80) - 1)}`);
      shown = true;
    },
  };
}

/** JSON has no typed arrays, maps, big integers and infinities: arrays, objects, numbers and null stand for them. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Map) return Object.fromEntries(value);
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return Array.from(value as unknown as ArrayLike<number>);
  return value;
}
