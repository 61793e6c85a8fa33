// Runs every example, one file per idea, from source: examples/*.ts. The demo has its own command (npm run demo).
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { report, root } from './packages.mjs';

const examples = readdirSync(join(root, 'examples')).filter((file) => file.endsWith('.ts'));
const problems = [];
for (const file of examples) {
  const child = spawnSync(process.execPath, [join(root, 'scripts', 'run.mjs'), join('examples', file)], {
    cwd: root,
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (child.status === 0) console.log(`${file}: ran`);
  else problems.push(`${file}: ended with ${child.status ?? child.signal}\n${child.stdout}${child.stderr}`);
}
report('examples', `${examples.length} examples`, problems);
