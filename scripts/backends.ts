/**
 * Measures every backend that can run here and writes the tables of docs/backends.md: operations against float64, all
 * methods against the first backend, training against the reference cases, and the newest `peft bench backends`:
 * node scripts/run.mjs scripts/backends.ts [--backend NAME ...] [TABLE ...]
 */
import { parseArgs } from 'node:util';
import { methodTable } from './backends/methods.js';
import { operationTable } from './backends/operations.js';
import { backendsHere, disposeAll } from './backends/present.js';
import { referenceTable } from './backends/references.js';
import { putTable } from './backends/table.js';
import { timeTable } from './backends/times.js';

const tables = { operation: operationTable, method: methodTable, reference: referenceTable, backend: timeTable };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { backend: { type: 'string', multiple: true } },
});
const backends = await backendsHere(values.backend);
for (const [name, make] of Object.entries(tables)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const table = await make(backends);
  if (table) putTable(table);
  else console.error(`What the table "${name}" is made from is missing here: it stays as it was.`);
}
await disposeAll(backends);
