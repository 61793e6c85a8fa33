import { bitdelta, relativeError } from '@peftjs/bitdelta';
import {
  type CompressedFile,
  compress,
  type Delta,
  decompress,
  memorySource,
  readCompressed,
  type Tensor,
  type Term,
  toF32,
} from '@peftjs/core';
import type { CaseFolder } from '../../case.js';
import {
  type CompressionRecord,
  deltaOf,
  difference,
  expectedOf,
  gather,
  readNamed,
  recordOf,
  sum,
} from '../../compression.js';

interface BitDeltaRecord extends CompressionRecord {
  readonly inputs: { readonly base: string; readonly finetuned: string };
  readonly values?: {
    readonly coeff?: number;
    readonly stages?: readonly { readonly scale: number; readonly relative_error: number }[];
  };
}

/** Compressed, written and read again. */
async function throughFile(delta: Delta, options: Parameters<typeof bitdelta>[0]): Promise<CompressedFile> {
  const { pieces } = await compress(bitdelta(options), delta).result();
  const bytes = new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  return readCompressed(memorySource(bytes), { codecs: [bitdelta] });
}

/** Σ of the first terms in full. */
async function decoded(file: CompressedFile, count: number): Promise<Tensor> {
  const { delta } = await decompress(file, { codecs: [bitdelta] });
  const parts = await Promise.all(
    delta.params
      .get('w')!
      .slice(0, count)
      .map((term) => term.tensors.delta!.read()),
  );
  return parts.reduce(sum);
}

/** Masks, scales and what they decode to. A width that the published packing refuses is padded instead. */
export async function run(folder: CaseFolder): Promise<void> {
  const { inputs, values, variant = '', expect } = recordOf<BitDeltaRecord>(folder);
  const [base, finetuned] = await Promise.all(
    (['base', 'finetuned'] as const).map(async (name) => (await readNamed(folder, inputs[name])).get(name)!),
  );
  const delta = difference(finetuned!, base!);
  const bits = values?.stages?.length ?? 1;
  const file = await throughFile(deltaOf(new Map([['w', delta]])), {
    bits,
    signOfZero: variant.startsWith('paper') ? -1 : 1,
  });
  const terms = file.adapter.delta.params.get('w')!;
  const scale = async (term: Term) => Number((await term.tensors.scale!.read()).data[0]);
  const checks = gather(folder);
  if (expect === 'refusal') {
    const alpha = await scale(terms[0]!);
    const exact = { ...delta, data: toF32(delta).data.map((x) => (x >= 0 ? alpha : -alpha)) };
    checks.tensor('decoded', await decoded(file, 1), exact, { absolute: 0 });
    return checks.done();
  }
  const expected = await expectedOf(folder);
  if (values?.coeff !== undefined) checks.number('coeff', await scale(terms[0]!), values.coeff, 1e-6);
  for (const [i, stage] of values?.stages?.entries() ?? []) {
    checks.number(`scale ${i}`, await scale(terms[i]!), stage.scale, 1e-6);
    const error = relativeError(toF32(delta).data, toF32(await decoded(file, i + 1)).data);
    checks.number(`error ${i}`, error, stage.relative_error, 1e-5);
  }
  for (const name of ['mask', 'mask0'])
    if (expected.has(name))
      checks.tensor(name, await terms[0]!.tensors.mask!.read(), expected.get(name)!, { absolute: 0 });
  const whole = await decoded(file, bits);
  if (expected.has('delta')) checks.tensor('delta', whole, expected.get('delta')!);
  if (expected.has('reconstructed')) checks.tensor('reconstructed', sum(base!, whole), expected.get('reconstructed')!);
  checks.done();
}
