import { int8 } from '@peftjs/bitdelta';
import { compress, decompress } from '@peftjs/core';
import type { CaseFolder } from '../../case.js';
import { type CompressionRecord, deltaOf, expectedOf, gather, readNamed, recordOf } from '../../compression.js';

/** Codes exactly; scales and decoded values. */
export async function run(folder: CaseFolder): Promise<void> {
  const { input, id } = recordOf<CompressionRecord>(folder);
  const given = await readNamed(folder, input!);
  const made = await compress(int8({ symmetric: id.startsWith('symmetric') }), deltaOf(given)).result();
  const { codes, scale, zero } = made.adapter.delta.params.get('w')![0]!.tensors;
  const plain = await decompress(made, { codecs: [int8] });
  const expected = await expectedOf(folder);
  const checks = gather(folder);
  checks.tensor('q', await codes!.read(), expected.get('q')!, { absolute: 0 });
  checks.tensor('scale', await scale!.read(), expected.get('scale')!);
  if (expected.has('zero')) checks.tensor('zero', await zero?.read(), expected.get('zero')!, { absolute: 0 });
  checks.tensor('w', await plain.delta.params.get('w')![0]!.tensors.delta!.read(), expected.get('w')!);
  checks.done();
}
