import { magnitudePruned } from '@peftjs/bitdelta';
import { f32, type Tensor, tensor, toF32 } from '@peftjs/core';
import { matrix } from '@peftjs/core/tensor';
import { expectPeftError } from '@peftjs/testkit';
import type { CaseFolder } from '../../case.js';
import { type CompressionRecord, expectedOf, gather, readNamed, recordOf } from '../../compression.js';

interface TwoOfFourRecord extends CompressionRecord {
  readonly row?: readonly number[];
  readonly expected_row?: readonly number[];
  readonly shape?: readonly [number, number];
}

const pruned = ({ shape, data }: Tensor) => magnitudePruned(matrix(shape[0]!, shape[1]!, data as Float32Array));
const without = (x: Tensor, gone: Uint8Array): Tensor =>
  f32(
    x.shape,
    toF32(x).data.map((v, i) => (gone[i] ? 0 : v)),
  );

/** The two largest of every four, exactly. */
export async function run(folder: CaseFolder): Promise<void> {
  const { input, row, expected_row: wanted, shape, expect } = recordOf<TwoOfFourRecord>(folder);
  const checks = gather(folder);
  if (expect === 'refusal') {
    const [rows, columns] = shape!;
    await expectPeftError(() => magnitudePruned(matrix(rows, columns)), ['CONFIG_INVALID'], [String(columns)]);
    return;
  }
  if (row) {
    const x = f32([1, row.length], row);
    checks.tensor('row', without(x, pruned(x)), f32([1, row.length], wanted!), { absolute: 0 });
    return checks.done();
  }
  const w = (await readNamed(folder, input!)).get('w')!;
  const gone = pruned(w);
  const expected = await expectedOf(folder);
  checks.tensor('w', without(w, gone), expected.get('w')!, { absolute: 0 });
  checks.tensor(
    'keep',
    tensor(
      'u8',
      w.shape,
      gone.map((x) => 1 - x),
    ),
    expected.get('keep')!,
    { absolute: 0 },
  );
  checks.done();
}
