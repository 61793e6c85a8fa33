import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { measure } from '../../benchmarks/measure.js';

interface Report {
  readonly results: readonly { name: string; relToMax: number; mergedRelToMax: number; adapterChanges: number }[];
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Has PEFT load the cases that were written to `work`, keeps its report under `result`, and sets the exit code. The
 * folder is removed.
 */
export async function judge(python: string, work: string, cases: readonly object[], result: string): Promise<void> {
  writeFileSync(join(work, 'cases.json'), JSON.stringify(cases));
  const { stdout } = await measure(python, [here('check.py'), work]);
  rmSync(work, { recursive: true });
  const report = JSON.parse(stdout.trim().split('\n').at(-1)!) as Report;
  console.table(report.results);
  // 2e-5: float32 sums in another order.
  const wrong = report.results.filter(
    (r) => !(r.relToMax < 2e-5 && r.mergedRelToMax < 2e-5 && r.adapterChanges > 1e-3),
  );
  writeFileSync(here(result), `${JSON.stringify(report, null, 2)}\n`);
  console.log(`${report.results.length - wrong.length} passed, ${wrong.length} failed`);
  process.exitCode = wrong.length ? 1 : 0;
}
