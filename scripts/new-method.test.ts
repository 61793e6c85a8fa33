import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { namesOf, newMethod } from './new-method.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name: string) => join(root, 'node_modules', '.bin', name);

describe('npm run new', () => {
  let folder = '';
  let files: string[] = [];

  beforeAll(() => {
    // Inside the repository, so that the generated imports resolve to the workspace packages.
    mkdirSync(join(root, '.cache'), { recursive: true });
    folder = mkdtempSync(join(root, '.cache', 'new-method-'));
    files = newMethod('my-method', folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

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
    ]);
    const manifest = JSON.parse(readFileSync(join(folder, 'packages/my-method/package.json'), 'utf8'));
    expect(manifest.name).toBe('@peftjs/my-method');
  });

  it('writes code that passes the type check', () => {
    const config = { extends: '../../tsconfig.base.json', compilerOptions: { noEmit: true }, include: ['packages'] };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    expect(() =>
      execFileSync(bin('tsc'), ['-p', folder], { cwd: root, stdio: 'pipe', encoding: 'utf8' }),
    ).not.toThrow();
  });

  it('writes a method that obeys the laws', () => {
    const args = ['run', '--root', folder, '--config', join(root, 'vitest.config.ts'), '--reporter=json'];
    const { stdout, stderr } = spawnSync(bin('vitest'), args, { cwd: root, encoding: 'utf8' });
    const result = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { numPassedTests: number; numFailedTests: number };
    expect(result.numFailedTests, `${stdout}${stderr}`).toBe(0);
    expect(result.numPassedTests).toBeGreaterThan(1);
  });

  it('does not overwrite a package', () => {
    expect(() => newMethod('my-method', folder)).toThrow('is there already');
  });

  it.each(['', 'My', 'a--b', '../up', '1st'])('refuses the name "%s"', (name) => {
    expect(() => namesOf(name)).toThrow('is not a method');
  });
});
