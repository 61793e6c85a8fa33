import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeDirectoryAtomic, writeFileAtomic } from '../src/files/index.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'peftjs-atomic-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (path: string) => readFile(path, 'utf8');
const leftovers = async (path = folder) => (await readdir(path)).filter((name) => name.startsWith('.'));

async function* broken() {
  yield bytes('half');
  throw new Error('no more');
}

describe('writeFileAtomic', () => {
  it('writes pieces, makes folders, replaces content', async () => {
    const path = join(folder, 'deep', 'er', 'a.txt');
    await writeFileAtomic(path, [bytes('on'), bytes('e')]);
    expect(await text(path)).toBe('one');
    await writeFileAtomic(path, bytes('two'));
    expect(await text(path)).toBe('two');
    expect(await leftovers(join(folder, 'deep', 'er'))).toEqual([]);
  });

  it('leaves the old content and nothing else after a failure', async () => {
    const path = join(folder, 'b.txt');
    await expect(writeFileAtomic(path, broken())).rejects.toThrow('no more');
    await expect(readFile(path)).rejects.toThrow('ENOENT');
    await writeFileAtomic(path, bytes('good'));
    await expect(writeFileAtomic(path, broken())).rejects.toThrow('no more');
    expect(await text(path)).toBe('good');
    expect(await leftovers()).toEqual([]);
  });

  it('is whole in the eyes of every reader while many write', async () => {
    const path = join(folder, 'busy.txt');
    const contents = Array.from({ length: 20 }, (_, i) => String(i).repeat(100_000));
    await writeFileAtomic(path, bytes(contents[0]!));
    const writers = contents.map((content) => writeFileAtomic(path, bytes(content)));
    for (let i = 0; i < 20; i++) expect(contents).toContain(await text(path));
    await Promise.all(writers);
    expect(contents).toContain(await text(path));
  });

  it('writes through a link and not over a directory', async () => {
    await writeFileAtomic(join(folder, 'real.txt'), bytes('old'));
    await symlink('real.txt', join(folder, 'link.txt'));
    await writeFileAtomic(join(folder, 'link.txt'), bytes('new'));
    expect(await readlink(join(folder, 'link.txt'))).toBe('real.txt');
    expect(await text(join(folder, 'real.txt'))).toBe('new');
    await expect(writeFileAtomic(folder, bytes('x'))).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' });
  });

  it.skipIf(process.getuid?.() === 0)('names the reason when a place cannot be written (not as root)', async () => {
    const locked = join(folder, 'locked');
    await mkdir(locked);
    await chmod(locked, 0o500);
    await expect(writeFileAtomic(join(locked, 'x'), bytes('x'))).rejects.toThrow('permission is denied');
  });

  it('names the path when a parent is a file', async () => {
    await writeFile(join(folder, 'plain'), 'x');
    await expect(writeFileAtomic(join(folder, 'plain', 'x'), bytes('x'))).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
    });
  });
});

describe('writeDirectoryAtomic', () => {
  const save = (path: string, names: readonly string[], replaces?: (name: string) => boolean) =>
    writeDirectoryAtomic(
      path,
      async (aside) => {
        for (const name of names) await writeFile(join(aside, name), `new ${name}`);
        return names.length;
      },
      replaces ? { replaces } : {},
    );

  it('makes a directory, and gives what was made', async () => {
    const out = join(folder, 'made', 'out');
    expect(await save(out, ['a', 'b'])).toBe(2);
    expect(await readdir(out)).toEqual(['a', 'b']);
    expect(await leftovers(join(folder, 'made'))).toEqual([]);
  });

  it('replaces what it writes and what it owns, and carries everything else over', async () => {
    const out = join(folder, 'swap');
    await mkdir(join(out, 'sub'), { recursive: true });
    await writeFile(join(out, 'sub', 'c'), 'old c');
    for (const name of ['a', 'own', 'README.md']) await writeFile(join(out, name), `old ${name}`);
    await symlink('README.md', join(out, 'link'));
    await save(out, ['a', 'z'], (name) => name === 'own');
    expect(await readdir(out)).toEqual(['README.md', 'a', 'link', 'sub', 'z']);
    expect(await text(join(out, 'a'))).toBe('new a');
    expect(await text(join(out, 'README.md'))).toBe('old README.md');
    expect(await text(join(out, 'sub', 'c'))).toBe('old c');
    expect(await readlink(join(out, 'link'))).toBe('README.md');
    expect((await leftovers()).filter((name) => name.includes('swap'))).toEqual([]);
  });

  it('leaves the old directory as it was when filling fails', async () => {
    const out = join(folder, 'keep');
    await save(out, ['a']);
    const failing = writeDirectoryAtomic(out, async (aside) => {
      await writeFile(join(aside, 'a'), 'half');
      throw new Error('no more');
    });
    await expect(failing).rejects.toThrow('no more');
    expect(await text(join(out, 'a'))).toBe('new a');
    expect((await leftovers()).filter((name) => name.includes('keep'))).toEqual([]);
  });

  it('refuses to replace a file, or the directory somebody works in', async () => {
    await writeFile(join(folder, 'file'), 'x');
    await expect(save(join(folder, 'file'), ['a'])).rejects.toThrow('is a file');
    await expect(save('.', ['a'])).rejects.toThrow('is the working directory or holds it');
    await expect(save('..', ['a'])).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
