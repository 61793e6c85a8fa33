import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  type Adapter,
  applyAdapter,
  builtinLayouts,
  isPeftError,
  readAdapter,
  unapply,
  writeAdapter,
} from '@peftjs/core';
import { openSafetensors } from '@peftjs/core/files';
import { type TensorRef, toF32 } from '@peftjs/core/tensor';

/** A reference case as a test or a runner calls it: `run` throws when the library disagrees with the reference. */
export interface PeftCase {
  readonly name: string;
  readonly kind: string;
  run(): Promise<void>;
}

interface ValidRecord {
  readonly dir: string;
  readonly peft_type: string;
  readonly changed_parameters: readonly string[];
  readonly modules?: Readonly<Record<string, { scaling: number; rank: number }>>;
  readonly merged: string;
  readonly tolerance: { readonly atol: number; readonly rtol: number };
}

interface MalformedRecord {
  readonly dir: string;
  readonly strict_reader: string;
}

type Base = ReadonlyMap<string, TensorRef>;

const readJson = async <T>(path: string): Promise<T> => JSON.parse(await readFile(path, 'utf8')) as T;

async function withTemporary(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-peft-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What the reader does with a folder: the adapter or the error, and what it warned of. */
async function attempt(
  folder: string,
  base: Base,
): Promise<{ adapter?: Adapter; error?: unknown; warnings: string[] }> {
  const warnings: string[] = [];
  try {
    return {
      adapter: await readAdapter(folder, { base: { parameters: base }, warn: (w) => warnings.push(w) }),
      warnings,
    };
  } catch (error) {
    return { error, warnings };
  }
}

function assertRefused(error: unknown): string {
  assert(isPeftError(error), `it failed with an error that is not typed: ${error}`);
  assert.notEqual(error.code, 'INTERNAL', error.message);
  assert(error.message.length < 20_000, `the message has ${error.message.length} characters`);
  return error.code;
}

/** Variants that are refused by name: how the folder shows what it is, and what the message must say. */
function unsupportedBy(record: ValidRecord): string | undefined {
  if (!builtinLayouts.has(record.peft_type)) return record.peft_type;
  return record.dir.includes('conv') ? 'convolution' : undefined;
}

async function runValid(folder: string, record: ValidRecord, base: Base): Promise<void> {
  const dir = join(folder, record.dir);
  const config = await readJson<Record<string, unknown>>(join(dir, 'adapter_config.json'));
  const { adapter, error, warnings } = await attempt(dir, base);
  const named = unsupportedBy(record);
  if (named !== undefined) {
    assert.equal(assertRefused(error), 'CONFIG_UNSUPPORTED');
    assert((error as Error).message.includes(named), `the message does not name ${named}: ${(error as Error).message}`);
    return;
  }
  assert(adapter, `it was refused: ${error}`);
  assert.deepEqual(warnings, []);
  assertModules(adapter, record);
  await assertMerged(adapter, record, base, folder);
  await assertRoundTrip(adapter, config, base);
}

/** Rank and scale of every module. */
function assertModules({ delta }: Adapter, { modules = {} }: ValidRecord): void {
  const found = [...delta.params].flatMap(([path, [term]]) =>
    term?.tensors.a
      ? [[path.slice(0, -'.weight'.length), { scaling: term.meta.scale, rank: term.tensors.a?.shape[0] }]]
      : [],
  );
  assert.deepEqual(Object.fromEntries(found), modules);
}

async function assertMerged(adapter: Adapter, record: ValidRecord, base: Base, folder: string): Promise<void> {
  const merged = applyAdapter(base, adapter);
  assert.deepEqual([...merged.pristine.keys()].sort(), [...record.changed_parameters].sort());
  assert.deepEqual(unapply(merged), base);
  const expected = await openSafetensors(join(folder, record.merged));
  const { atol, rtol } = record.tolerance;
  for (const [name, ref] of expected.tensors) {
    const want = toF32(await ref.read()).data;
    const got = toF32(await merged.parameters.get(name)!.read()).data;
    assert.equal(got.length, want.length, name);
    let worst = 0;
    for (let i = 0; i < want.length; i++) {
      const excess = Math.abs(got[i]! - want[i]!) - atol - rtol * Math.abs(want[i]!);
      if (excess > Math.abs(got[worst]! - want[worst]!) - atol - rtol * Math.abs(want[worst]!)) worst = i;
    }
    const difference = Math.abs(got[worst]! - want[worst]!);
    assert(
      difference <= atol + rtol * Math.abs(want[worst]!),
      `${name}[${worst}]: ${got[worst]} for ${want[worst]}, ${difference} apart`,
    );
  }
  await expected.close();
}

/** Keys whose value says nothing about the adapter, or is written in another order or spelling of the same. */
const written = (config: Record<string, unknown>): Record<string, unknown> => ({
  ...config,
  target_modules: Array.isArray(config.target_modules) ? [...config.target_modules].sort() : config.target_modules,
});

/** Writing and reading again gives the same adapter and the same configuration. */
async function assertRoundTrip(adapter: Adapter, config: Record<string, unknown>, base: Base): Promise<void> {
  await withTemporary(async (folder) => {
    const copy = join(folder, 'copy');
    await writeAdapter(copy, adapter);
    const { adapter: again, error, warnings } = await attempt(copy, base);
    assert(again, `what was written is refused: ${error}`);
    assert.deepEqual(warnings, []);
    assert.equal(again.digest, adapter.digest);
    assert.deepEqual(structuredClone(again.method), structuredClone(adapter.method));
    const rewritten = await readJson<Record<string, unknown>>(join(copy, 'adapter_config.json'));
    assert.deepEqual(Object.keys(rewritten), Object.keys(rewritten).sort());
    assert.deepEqual(written(rewritten), written(config));
  });
}

/** A copy of a folder in which each `NAME.symlink` has become a link. */
async function withLinks(folder: string, run: (copy: string) => Promise<void>): Promise<void> {
  await withTemporary(async (temporary) => {
    const copy = join(temporary, basename(folder));
    await cp(folder, copy, { recursive: true, mode: 0 });
    for (const name of (await readdir(copy)).filter((file) => file.endsWith('.symlink')))
      await symlink((await readFile(join(copy, name), 'utf8')).trim(), join(copy, name.slice(0, -'.symlink'.length)));
    await run(copy);
  });
}

async function runMalformed(folder: string, record: MalformedRecord, base: Base): Promise<void> {
  await withLinks(join(folder, record.dir), async (copy) => {
    const started = performance.now();
    const { adapter, error, warnings } = await attempt(copy, base);
    const seconds = (performance.now() - started) / 1000;
    assert(seconds < 10, `it took ${seconds} s`);
    assert.equal(({} as Record<string, unknown>).polluted, undefined, 'a key of the file reached Object.prototype');
    const choices = record.strict_reader.split('-or-');
    const mayRefuse = choices.some((choice) => ['reject', 'refuse', 'limit', 'refuse-to-follow'].includes(choice));
    const accepting = choices.find((choice) => choice.startsWith('accept') || choice === 'warn');
    if (error !== undefined) {
      assertRefused(error);
      assert(mayRefuse, `it was refused: ${error}`);
      return;
    }
    assert(accepting, 'it was accepted');
    if (accepting.includes('warn')) assert(warnings.length > 0, 'it was accepted without a warning');
    await assertUsable(adapter!, base);
  });
}

/** What was accepted can be merged and written. */
async function assertUsable(adapter: Adapter, base: Base): Promise<void> {
  for (const ref of applyAdapter(base, adapter).parameters.values()) await ref.read();
  await withTemporary(async (folder) => void (await writeAdapter(join(folder, 'copy'), adapter)));
}

/**
 * The reference folders of PEFT: valid ones against PEFT's own merged weights, hostile ones against their verdicts.
 * @param root the folder of the goldens.
 */
export async function* peftCases(root: string): AsyncGenerator<PeftCase> {
  const folder = join(root, 'formats', 'peft');
  const index = await readJson<{ base: string; valid: ValidRecord[]; malformed: MalformedRecord[] }>(
    join(folder, 'cases.json'),
  );
  const base = (await openSafetensors(join(folder, index.base))).tensors;
  for (const record of index.valid)
    yield { name: basename(record.dir), kind: 'valid', run: () => runValid(folder, record, base) };
  for (const record of index.malformed)
    yield { name: basename(record.dir), kind: 'malformed', run: () => runMalformed(folder, record, base) };
}
