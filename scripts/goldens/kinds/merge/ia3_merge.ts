import { join } from 'node:path';
import { readAdapter } from '@peftjs/core';
import type { CaseFolder } from '../../case.js';
import type { MergeRecord } from '../../merging.js';

/** Adapters of IA3 are not read: the reader refuses them by their type, which makes these cases unsupported. */
export async function run({ root, record }: CaseFolder): Promise<void> {
  const { inputs } = record as unknown as MergeRecord;
  for (const folder of inputs.adapters as readonly string[]) await readAdapter(join(root, folder));
  throw new Error('IA3 adapters are read now: merge them as the case asks.');
}
