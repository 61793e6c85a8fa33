// Runs a TypeScript program of this repository from source: node scripts/run.mjs FILE [ARGUMENT ...]
import { spawn } from 'node:child_process';
import { pathToFileURL } from 'node:url';

/** Exports of the workspace packages resolve to their TypeScript under this condition. */
export const sourceCondition = '--conditions=@peftjs/source';

/** Starts node on `program` (a file and its arguments) with TypeScript and the source condition, and ends as it ends. */
export function runFromSource(program) {
  // tsx by its address: a bare name would be looked up from the user's folder.
  const flags = ['--import', import.meta.resolve('tsx'), sourceCondition];
  const child = spawn(process.execPath, [...flags, ...program], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    // A terminal sends Ctrl-C to both processes; passed on, it would arrive twice.
    process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY ? undefined : child.kill(signal)));
  }
  child.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (process.argv.length < 3) {
    console.error('usage: node scripts/run.mjs FILE [ARGUMENT ...]');
    process.exit(2);
  }
  runFromSource(process.argv.slice(2));
}
