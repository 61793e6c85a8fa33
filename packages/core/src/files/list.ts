import { platform } from '#platform';

/** Names in a directory, sorted; undefined when the path is none. */
export async function listDirectory(path: string): Promise<readonly string[] | undefined> {
  const at = platform.resolve(path);
  return (await platform.entry(at))?.kind === 'directory' ? platform.list(at) : undefined;
}
