import { describe, expect, it } from 'vitest';
import type { Listed } from '../../../scripts/goldens/case.js';
import { onnxAdapterCases } from '../../../scripts/goldens/formats-onnx-adapter.js';
import { goldensPath } from '../../testkit/src/shared.js';
import {
  encodeOnnxAdapter,
  f32,
  lowRankTerm,
  memorySource,
  onnxParameters,
  openOnnxAdapter,
  readOnnxAdapter,
  slotNames,
  tensor,
  tensorRef,
} from '../src/index.js';

const root = goldensPath('formats', 'onnx_adapter') && goldensPath();
const cases: Listed[] = [];
if (root) for await (const found of onnxAdapterCases(root)) cases.push(found);

describe('reference files of .onnx_adapter', () => {
  it.skipIf(!root)('are all there (without them, set PEFTJS_GOLDENS)', () => expect(cases.length).toBeGreaterThan(30));
  for (const { kind, name, run } of cases) it(`${kind}: ${name}`, () => run!(undefined as never));
});

const factor = (shape: readonly [number, number]) =>
  tensorRef(
    f32(
      shape,
      Array.from({ length: shape[0] * shape[1] }, (_, i) => i - 3),
    ),
  );
const given = {
  delta: {
    shape: new Map([['fc.weight', [2, 3]]]),
    params: new Map([['fc.weight', [lowRankTerm({ a: factor([4, 3]), b: factor([2, 4]) }, { scale: 0.5 })]]]),
  },
  replaced: new Map(),
  digest: '',
};

describe('.onnx_adapter', () => {
  it('holds A as [in, r] and B as [r, out] with the scale in it, under the names that are asked for', async () => {
    const parameters = await onnxParameters(given, { names: slotNames.plain });
    expect([...parameters.keys()]).toEqual(['fc.lora_A', 'fc.lora_B']);
    const [a, b] = [await parameters.get('fc.lora_A')!.read(), await parameters.get('fc.lora_B')!.read()];
    expect(a.shape).toEqual([3, 4]);
    expect([...(a.data as Float32Array).slice(0, 4)]).toEqual([-3, 0, 3, 6]);
    expect(b.shape).toEqual([4, 2]);
    expect([...(b.data as Float32Array).slice(0, 2)]).toEqual([-1.5, 0.5]);
  });

  it('read back changes what the adapter changes', async () => {
    const bytes = await encodeOnnxAdapter({ parameters: await onnxParameters(given) });
    const back = await readOnnxAdapter(memorySource(bytes));
    expect(back.delta.shape).toEqual(given.delta.shape);
    expect(await contents(await onnxParameters(back))).toEqual(await contents(await onnxParameters(given)));
  });

  it('places data at multiples of 64, whatever the names', async () => {
    const parameters = new Map(
      ['a', 'bcd', 'efghijkl'].map((name, i) => [
        name,
        tensorRef(tensor('u8', [5 + i], new Uint8Array(5 + i).fill(99))),
      ]),
    );
    const bytes = await encodeOnnxAdapter({ parameters });
    const starts = [...bytes.keys()].filter((at) => bytes[at] === 99 && bytes[at - 1] !== 99 && bytes[at + 4] === 99);
    expect(starts.map((at) => at % 64)).toEqual([0, 0, 0]);
    expect((await openOnnxAdapter(memorySource(bytes))).parameters.size).toBe(3);
  });

  it('is refused as an adapter when its parameters are no pairs', async () => {
    const parameters = new Map([
      ['fc.lora_A.weight', factor([3, 4])],
      ['other', factor([3, 4])],
    ]);
    const bytes = await encodeOnnxAdapter({ parameters });
    const error = await readOnnxAdapter(memorySource(bytes)).catch((e: Error) => e);
    expect(error).toMatchObject({ code: 'ADAPTER_INVALID' });
    expect((error as Error).message).toMatch(/"other" is not named as a factor[\s\S]*"fc" has no factor B/);
  });
});

const contents = (parameters: Awaited<ReturnType<typeof onnxParameters>>) =>
  Promise.all([...parameters].map(async ([name, ref]) => [name, await ref.read()]));
