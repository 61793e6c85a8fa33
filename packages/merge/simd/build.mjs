// Compiles kernels.ts to src/kernels/binary.ts: node packages/merge/simd/build.mjs. A test sees to it that both agree.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const target = new URL('../src/kernels/binary.ts', import.meta.url);
const options = '-O3 --noAssert --runtime stub --enable simd --importMemory --initialMemory 1';

/** The module as TypeScript. */
export async function compiled() {
  const made = new Map();
  const { error, stderr } = await asc.main(['kernels.ts', '--outFile', 'kernels.wasm', ...options.split(' ')], {
    readFile: (name) => (name === 'kernels.ts' ? readFileSync(new URL(name, import.meta.url), 'utf8') : null),
    writeFile: (name, contents) => made.set(name, contents),
    listFiles: () => [],
  });
  if (error) throw new Error(stderr.toString());
  const text = Buffer.from(made.get('kernels.wasm')).toString('base64');
  return `/** simd/kernels.ts, compiled by simd/build.mjs. */\nexport const binary =\n  '${text}';\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(target, await compiled());
