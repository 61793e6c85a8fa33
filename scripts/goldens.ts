// Runs the cases of the goldens folder: npm run goldens -- [methods] [merge] [formats] [--case SUBSTRING] [--json]
import { parseArgs } from 'node:util';
import { isPeftError } from '@peftjs/core';
import { goldensPath } from '@peftjs/testkit';
import { makeBackend } from './goldens/backend.js';
import { type CaseEvent, runGoldens } from './goldens/run.js';

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        case: { type: 'string' },
        json: { type: 'boolean', default: false },
        backend: { type: 'string', default: 'onnxruntime' },
      },
    });
  } catch (error) {
    console.error((error as Error).message);
    process.exit(2);
  }
}

/** For people: failures in full, what is unsupported with its reason, what passed in a word. */
function line({ status, kind, name, message }: CaseEvent): string {
  const label = `${status.padEnd(11)} ${kind.padEnd(16)} ${name}`;
  if (status === 'failed') return `${label}\n  ${message?.replaceAll('\n', '\n  ')}`;
  return message ? `${label}  (${message.split('\n')[0]})` : label;
}

const { values, positionals } = parse();
const folder = goldensPath();
if (!folder) {
  console.error('There is no goldens folder: set PEFTJS_GOLDENS to its path.');
  process.exit(1);
}
const backend = makeBackend(values.backend);
try {
  for await (const event of runGoldens({ folder, backend, parts: positionals, name: values.case })) {
    if (values.json || event.event === 'result') console.log(JSON.stringify(event));
    else console.log(line(event));
    if (event.event === 'result' && event.failed > 0) process.exitCode = 1;
  }
} catch (error) {
  if (!isPeftError(error) || error.code !== 'CONFIG_INVALID') throw error;
  console.error(error.message);
  process.exitCode = 2;
} finally {
  await backend.dispose();
}
