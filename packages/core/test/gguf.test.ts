import { describe, expect, it } from 'vitest';
import type { Listed } from '../../../scripts/goldens/case.js';
import { ggufCases } from '../../../scripts/goldens/formats-gguf.js';
import { goldensPath } from '../../testkit/src/shared.js';
import {
  type Adapter,
  encodeGguf,
  f32,
  type GgufValue,
  ggufOfAdapter,
  lowRankTerm,
  memorySource,
  openGguf,
  readGgufAdapter,
  tensorRef,
} from '../src/index.js';

const root = goldensPath('formats', 'gguf') && goldensPath();
const cases: Listed[] = [];
if (root) for await (const found of ggufCases(root)) cases.push(found);

describe('reference files of GGUF', () => {
  it.skipIf(!root)('are all there (without them, set PEFTJS_GOLDENS)', () => expect(cases.length).toBeGreaterThan(40));
  for (const { kind, name, run } of cases) it(`${kind}: ${name}`, () => run!(undefined as never));
});

const numbers = (shape: readonly number[], from = 0) =>
  tensorRef(
    f32(
      shape,
      Array.from({ length: shape.reduce((n, m) => n * m, 1) }, (_, i) => from + i / 4),
    ),
  );

/** q_proj of 2 heads of 4 channels, and v_proj of 1; ranks and scales as given. */
function adapter(q: { r: number; scale: number }, v: { r: number; scale: number }): Adapter {
  const term = ({ r, scale }: { r: number; scale: number }, out: number) =>
    lowRankTerm({ a: numbers([r, 6], 1), b: numbers([out, r], -2) }, { scale });
  const [qPath, vPath] = ['model.layers.0.self_attn.q_proj.weight', 'model.layers.0.self_attn.v_proj.weight'];
  const shape = new Map([
    [qPath, [8, 6]],
    [vPath, [4, 6]],
  ]);
  const params = new Map([
    [qPath, [term(q, 8)]],
    [vPath, [term(v, 4)]],
  ]);
  return { delta: { shape, params }, replaced: new Map(), digest: '' };
}

const base = { heads: 2, kvHeads: 1 };
const llama = { modelType: 'llama', ...base };

async function roundTrip(given: Adapter, options: Parameters<typeof ggufOfAdapter>[1]): Promise<Adapter> {
  return readGgufAdapter(memorySource(await encodeGguf(await ggufOfAdapter(given, options))), { base });
}

describe('GGUF adapters', () => {
  it('keep one alpha where it says every scale, whatever the ranks', async () => {
    const given = adapter({ r: 2, scale: 4 }, { r: 4, scale: 2 });
    const { metadata } = await ggufOfAdapter(given, llama);
    expect(metadata.get('adapter.lora.alpha')).toEqual({ type: 'f32', value: 8 });
    const back = await roundTrip(given, llama);
    for (const [path, [term]] of given.delta.params) {
      const [own] = back.delta.params.get(path)!;
      expect(own!.meta.scale).toBe(term!.meta.scale);
      for (const letter of ['a', 'b'])
        expect(await own!.tensors[letter]!.read()).toEqual(await term!.tensors[letter]!.read());
    }
  });

  it('fold scales that no single alpha says', async () => {
    const given = adapter({ r: 2, scale: Math.SQRT2 }, { r: 4, scale: 2 });
    const { metadata, tensors } = await ggufOfAdapter(given, llama);
    expect(metadata.get('adapter.lora.alpha')?.value).toBe(0);
    const b = (await tensors.get('blk.0.attn_v.weight.lora_b')!.read()).data;
    expect([...(b as Float32Array).slice(0, 3)]).toEqual([-4, -3.5, -3]);
    await expect(ggufOfAdapter(given, { ...llama, fold: false })).rejects.toMatchObject({ code: 'DELTA_CONFLICT' });
  });

  it('interleave the rows of queries and keys for Llama alone', async () => {
    const given = adapter({ r: 1, scale: 1 }, { r: 1, scale: 1 });
    const rows = async (modelType: string) => {
      const { tensors } = await ggufOfAdapter(given, { modelType, ...base });
      return [...(await tensors.get('blk.0.attn_q.weight.lora_b')!.read()).data].map((x) => (Number(x) + 2) * 4);
    };
    expect(await rows('qwen2')).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await rows('llama')).toEqual([0, 2, 1, 3, 4, 6, 5, 7]); // heads of 4: halves side by side
  });

  it('name everything that the format cannot hold', async () => {
    const given = adapter({ r: 1, scale: 1 }, { r: 1, scale: 1 });
    const replaced = new Map([['score.weight', numbers([2, 6])]]);
    const params = new Map([...given.delta.params, ['model.norm.weight', []]]);
    const odd = { ...given, replaced, delta: { ...given.delta, params } };
    const error = await ggufOfAdapter(odd, llama).catch((e: Error) => e);
    expect(error).toMatchObject({ code: 'DELTA_CONFLICT' });
    for (const name of ['score.weight', 'model.norm.weight']) expect((error as Error).message).toContain(name);
    await expect(ggufOfAdapter(given, { ...llama, modelType: 'gpt2' })).rejects.toMatchObject({
      code: 'MODEL_UNSUPPORTED',
    });
  });

  it('of Llama are not read without the heads of the base', async () => {
    const bytes = await encodeGguf(await ggufOfAdapter(adapter({ r: 1, scale: 1 }, { r: 1, scale: 1 }), llama));
    await expect(readGgufAdapter(memorySource(bytes))).rejects.toThrow(/numbers of heads/);
  });
});

describe('a GGUF header', () => {
  it('longer than what is read first is read on', async () => {
    const words = Array.from({ length: 150_000 }, (_, i) => `token ${i}`);
    const metadata = new Map<string, GgufValue>([['tokens', { type: 'array', of: 'string', value: words }]]);
    const bytes = await encodeGguf({ metadata, tensors: new Map([['t', numbers([3])]]) });
    expect(bytes.length).toBeGreaterThan(2 ** 21);
    const file = await openGguf(memorySource(bytes));
    expect(file.metadata.get('tokens')?.value).toEqual(words);
    expect((await file.tensors.get('t')!.ref!.read()).data).toEqual(Float32Array.of(0, 0.25, 0.5));
  });

  it('is refused when bytes follow the last tensor', async () => {
    const bytes = await encodeGguf({ metadata: new Map(), tensors: new Map([['t', numbers([8])]]) });
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    await expect(openGguf(memorySource(longer))).rejects.toThrow(/1 bytes follow/);
  });
});
