import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { namesOf, newMethod } from './new-method.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const command = ['packages/cli/package.json', 'packages/cli/src/bundled.ts'];
const bin = (name: string) => join(root, 'node_modules', '.bin', name);

describe('npm run new', () => {
  let folder = '';
  let files: string[] = [];

  beforeAll(() => {
    // Inside the repository, so that the generated imports resolve to the workspace packages.
    mkdirSync(join(root, '.cache'), { recursive: true });
    folder = mkdtempSync(join(root, '.cache', 'new-method-'));
    for (const file of command) cpSync(join(root, file), join(folder, file));
    files = newMethod('my-method', folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** The tests of the new package, run. */
  function tested(): { status: string; fullName: string; failureMessages: string[] }[] {
    const args = ['run', '--root', folder, '--config', join(root, 'vitest.config.ts'), '--reporter=json'];
    const { stdout } = spawnSync(bin('vitest'), args, { cwd: root, encoding: 'utf8' });
    const { testResults } = JSON.parse(stdout.slice(stdout.indexOf('{')));
    return testResults.flatMap((file: { assertionResults: unknown[] }) => file.assertionResults);
  }

  it('writes a package with its changeset', () => {
    expect(files).toEqual([
      'packages/my-method/package.json',
      'packages/my-method/tsconfig.build.json',
      '.changeset/new-my-method.md',
      'packages/my-method/src/config.ts',
      'packages/my-method/src/math.ts',
      'packages/my-method/src/index.ts',
      'packages/my-method/test/my-method.test.ts',
      'packages/my-method/README.md',
      ...command,
    ]);
    const manifest = JSON.parse(readFileSync(join(folder, 'packages/my-method/package.json'), 'utf8'));
    expect(manifest.name).toBe('@peftjs/my-method');
  });

  it('adds it to what the command brings', () => {
    const [manifest, bundled] = command.map((file) => readFileSync(join(folder, file), 'utf8'));
    expect(JSON.parse(manifest!).dependencies).toHaveProperty('@peftjs/my-method', '^1.0.0');
    expect(bundled).toMatch(/import\('@peftjs\/my-method'\),\n\];\n$/);
  });

  it('writes code that passes the type check', () => {
    const config = {
      extends: '../../tsconfig.base.json',
      compilerOptions: { noEmit: true },
      include: ['packages/my-method'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    expect(() =>
      execFileSync(bin('tsc'), ['-p', folder], { cwd: root, stdio: 'pipe', encoding: 'utf8' }),
    ).not.toThrow();
  });

  it('fails in the mathematics that is missing, in nothing else', () => {
    const tests = tested();
    const failed = tests.filter(({ status }) => status === 'failed');
    expect(failed.length).toBeGreaterThan(1);
    expect(tests.length - failed.length).toBeGreaterThan(1);
    for (const { fullName, failureMessages } of failed)
      expect(failureMessages.join('\n'), fullName).toContain('ΔW is yet to be written, in src/math.ts');
  });

  it('obeys the laws once it is written', () => {
    const math = join(folder, 'packages/my-method/src/math.ts');
    const text = readFileSync(math, 'utf8');
    writeFileSync(math, text.replace(/throw .*;/, 'return _ops.mul(_ops.matmul(_b, _a), _s);'));
    expect(tested().filter(({ status }) => status !== 'passed')).toEqual([]);
  });

  it('does not overwrite a package', () => {
    expect(() => newMethod('my-method', folder)).toThrow('is there already');
  });

  it.each(['', 'My', 'a--b', '../up', '1st'])('refuses the name "%s"', (name) => {
    expect(() => namesOf(name)).toThrow('is not a method');
  });
});
