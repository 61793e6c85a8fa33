// Fails when package-lock.json names a download host or lacks another platform's optional package
// (either would break `npm ci` somewhere).
import { readFileSync } from 'node:fs';

const { packages } = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'));
const names = new Set(Object.keys(packages).map((path) => path.split('node_modules/').pop()));
const problems = [];
for (const [path, entry] of Object.entries(packages)) {
  if (/^[a-z+]+:\/\//.test(entry.resolved ?? '')) problems.push(`${path}: resolved names a host`);
  for (const [dep, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (!names.has(dep)) problems.push(`${path}: optional ${dep}@${range} is not in the lock`);
  }
}
for (const problem of problems) console.error(problem);
console.log(`package-lock.json: ${Object.keys(packages).length} entries, ${problems.length} problems`);
process.exitCode = problems.length ? 1 : 0;
