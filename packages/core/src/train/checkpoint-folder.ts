import { platform } from '#platform';
import { PeftError } from '../errors.js';

const directoryName = (step: number): string => `step-${String(step).padStart(8, '0')}`;
const isCheckpoint = (name: string): boolean => /^step-\d{8,}$/.test(name);
/** Directories that a killed process was writing or removing. */
const isLeftOver = (name: string): boolean => /^\.step-\d{8,}\.(new|old)-/.test(name);
const stepOf = (path: string): number => Number(platform.base(path).slice('step-'.length));

/** Where the checkpoint of a step lies. */
export const checkpointPath = (folder: string, step: number): string => platform.resolve(folder, directoryName(step));

/** The newest checkpoint of a folder; undefined when it holds none or does not exist. */
export async function newestCheckpoint(folder: string): Promise<string | undefined> {
  const path = platform.resolve(folder);
  if ((await platform.entry(path))?.kind !== 'directory') return undefined;
  const steps = (await platform.list(path)).filter(isCheckpoint).sort((a, b) => stepOf(a) - stepOf(b));
  return steps.length > 0 ? platform.resolve(path, steps.at(-1)!) : undefined;
}

/** Takes a directory away such that it is there whole or not at all. */
async function removeWhole(folder: string, name: string): Promise<void> {
  const aside = platform.resolve(folder, `.${name}.old-gone`);
  await platform.remove(aside);
  await platform.rename(platform.resolve(folder, name), aside);
  await platform.remove(aside);
}

/** Leaves a folder the checkpoint at `path` alone. */
export async function keepOnly(path: string): Promise<void> {
  const folder = platform.parent(path);
  for (const name of await platform.list(folder)) {
    if (isCheckpoint(name) && name !== platform.base(path)) await removeWhole(folder, name);
    else if (isLeftOver(name)) await platform.remove(platform.resolve(folder, name));
  }
}

/** @throws PeftError FILE_UNWRITABLE when a file stands where the folder or one above it is to be */
async function requireRoom(folder: string): Promise<void> {
  for (let at = folder; ; at = platform.parent(at)) {
    const kind = (await platform.entry(at))?.kind;
    if (kind === 'directory' || at === platform.parent(at)) return;
    if (kind)
      throw new PeftError('FILE_UNWRITABLE', `${at} is a file, so checkpoints cannot be written to ${folder}.`, {
        details: { path: at },
      });
  }
}

/**
 * Looks at a folder for checkpoints before a run that writes them: it belongs to one run.
 * @throws PeftError FILE_UNWRITABLE when a file is in its place, CONFIG_INVALID when it holds a run that this one does
 *   not go on from
 */
export async function requireOwnFolder(folder: string, resume: boolean | string): Promise<void> {
  const path = platform.resolve(folder);
  await requireRoom(path);
  if (resume === true || (resume && platform.parent(platform.resolve(resume)) === path)) return;
  const found = await newestCheckpoint(path);
  if (!found) return;
  const step = stepOf(found);
  throw new PeftError(
    'CONFIG_INVALID',
    `${path} holds a run at step ${step}, which this one would replace: go on with it (resume, on the command line --resume), write elsewhere (--output), or remove that folder.`,
    { details: { path, step } },
  );
}
