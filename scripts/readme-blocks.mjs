// Runs the first TypeScript block of every README from source. Arguments select by package folder; `root` is the README
// of the repository.
import { join } from 'node:path';
import { report, root } from './packages.mjs';
import { pages, runBlock } from './readme.mjs';

const selected = process.argv.length > 2 ? process.argv.slice(2) : [...pages.keys()];
const problems = [];
for (const name of selected) {
  // Inside the repository, so that imports resolve to the workspace packages.
  const problem = runBlock(name, join(root, '.cache', 'readme'), [join(root, 'scripts', 'run.mjs')]);
  if (problem) problems.push(problem);
  else console.log(`${name}: ran`);
}
report('readme blocks', `${selected.length} blocks`, problems);
