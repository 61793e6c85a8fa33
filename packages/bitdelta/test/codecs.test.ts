import {
  type BoundCodec,
  type CompressEvent,
  compress,
  contentDigest,
  createRandom,
  type Delta,
  decompress,
  denseTerm,
  f32,
  isPeftError,
  kindOf,
  lowRankTerm,
  memorySource,
  packCompressed,
  readCompressed,
  scale,
  type Tensor,
  type Term,
  tensor,
  tensorRef,
  toF32,
  withKinds,
} from '@peftjs/core';
import { expectBitEqual, expectPeftError } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import plugin, { bitdelta, deltazip, int8, lowRank, relativeError } from '../src/index.js';

const codecs = plugin.codecs!;
const kinds = withKinds(...plugin.kinds!);

const matrixOf = (name: string, [rows, columns]: readonly [number, number]): Tensor =>
  createRandom(7).fork(name, rows, columns).normal([rows, columns], 0, 0.01);

/** A dense matrix, a low-rank one that lies as (in, out), and a vector. */
function madeUp([rows, columns]: readonly [number, number]): Delta {
  const factors = { a: tensorRef(matrixOf('a', [2, rows])), b: tensorRef(matrixOf('b', [columns, 2])) };
  return {
    shape: new Map([
      ['up.weight', [rows, columns]],
      ['mix.weight', [rows, columns]],
      ['up.bias', [columns]],
    ]),
    params: new Map<string, readonly Term[]>([
      ['up.weight', [denseTerm(tensorRef(matrixOf('up', [rows, columns])))]],
      ['mix.weight', [lowRankTerm(factors, { scale: 2, transposed: true })]],
      ['up.bias', [denseTerm(tensorRef(createRandom(1).normal([columns])))]],
    ]),
  };
}

async function dense({ shape, params }: Delta, path: string): Promise<Float32Array> {
  const parts = params.get(path)!.map((term) => kindOf(term, kinds).dense(term, shape.get(path)!));
  const sum = (await Promise.all(parts)).map((part) => Float64Array.from(toF32(part).data));
  return Float32Array.from(sum.reduce((a, b) => a.map((x, i) => x + b[i]!)));
}

const joined = async (pieces: readonly Uint8Array[]): Promise<Uint8Array> =>
  new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());

async function through(bound: BoundCodec, delta: Delta) {
  const made = await compress(bound, delta).result();
  const bytes = await joined(made.pieces);
  return { made, bytes, read: await readCompressed(memorySource(bytes), { codecs }) };
}

/** Every way through the codecs, with the shapes it takes and the largest relative error on normal numbers. */
const ways: readonly (readonly [string, () => BoundCodec, number, { readonly fours?: boolean }])[] = [
  ['bitdelta 1 bit', () => bitdelta(), 0.65, {}],
  ['bitdelta 1 bit a row', () => bitdelta({ scale: 'row', signOfZero: -1 }), 0.65, {}],
  ['bitdelta 4 bits', () => bitdelta({ bits: 4 }), 0.3, {}],
  ['int8', () => int8(), 0.01, {}],
  ['int8 asymmetric', () => int8({ symmetric: false }), 0.01, {}],
  ['low-rank, energy 0.99, f32', () => lowRank({ energy: 0.99, factors: 'f32' }), 0.1001, {}],
  ['low-rank, energy 0.99, f16', () => lowRank({ energy: 0.99 }), 0.101, {}],
  ['low-rank, energy 0.99, int8', () => lowRank({ energy: 0.99, factors: 'int8' }), 0.11, {}],
  ['low-rank, half the rank', () => lowRank({ fraction: 0.5 }), 0.7, {}],
  ['deltazip 16 bits, all kept', () => deltazip({ bits: 16, structured: false }), 5e-4, {}],
  ['deltazip 8 bits, all kept', () => deltazip({ bits: 8, structured: false }), 0.02, {}],
  ['deltazip 3 bits, groups of 8', () => deltazip({ bits: 3, structured: false, groupSize: 8 }), 0.4, {}],
  ['deltazip 2:4, 16 bits', () => deltazip({ bits: 16 }), 0.45, { fours: true }],
  ['deltazip 2:4, 4 bits', () => deltazip({ bits: 4 }), 0.5, { fours: true }],
  ['deltazip 2:4, 4 bits, groups of 32', () => deltazip({ bits: 4, groupSize: 32 }), 0.5, { fours: true }],
  ['deltazip 2:4, 2 bits', () => deltazip({ bits: 2, groupSize: 16 }), 0.8, { fours: true }],
];

const extents: readonly (readonly [number, number])[] = [
  [1, 1],
  [1, 63],
  [5, 33],
  [31, 7],
  [8, 32],
  [12, 100],
];

describe('every codec', () => {
  it.each(ways)('%s: a file gives back what was compressed, exactly', async (_, bound, __, { fours }) => {
    for (const [rows, columns] of extents) {
      const delta = madeUp(fours ? [4 * rows, 4 * columns] : [rows, columns]);
      const { made, read } = await through(bound(), delta);
      expect(read.adapter.digest).toBe(made.adapter.digest);
      expect(read.bytes).toBe(made.bytes);
      expect(read.codec).toBe(bound().codec.name);
      const again = await packCompressed(bound().codec, read.adapter);
      expect(await joined(again.pieces)).toEqual(await joined(made.pieces));
      const plain = await decompress(read, { codecs });
      for (const [path, shape] of delta.shape) {
        const whole = f32(shape, await dense(made.adapter.delta, path));
        expectBitEqual(path, f32(shape, await dense(read.adapter.delta, path)), whole);
        expectBitEqual(path, f32(shape, await dense(plain.delta, path)), whole);
      }
      // Vectors are kept as they are.
      expectBitEqual(
        'bias',
        f32([1], (await dense(read.adapter.delta, 'up.bias')).slice(0, 1)),
        f32([1], (await dense(delta, 'up.bias')).slice(0, 1)),
      );
    }
  });

  it.each(ways)('%s: scaling a compressed update scales what it stands for', async (_, bound) => {
    const { made } = await through(bound(), madeUp([8, 32]));
    const half = scale(made.adapter.delta, -0.5, kinds);
    for (const path of made.adapter.delta.shape.keys()) {
      const [a, b] = [await dense(half, path), await dense(made.adapter.delta, path)];
      // One rounding on each side.
      expect(
        relativeError(
          b.map((x) => -0.5 * x),
          a,
        ),
      ).toBeLessThan(1e-6);
    }
    const content = { delta: half, replaced: new Map() };
    const packed = await packCompressed(bound().codec, { ...content, digest: await contentDigest(content) });
    const read = await readCompressed(memorySource(await joined(packed.pieces)), { codecs });
    expect(read.adapter.digest).toBe(await contentDigest(content));
  });

  it('stays within its error on normal numbers: a table', async () => {
    const delta = madeUp([96, 256]);
    const rows = [];
    for (const [name, bound, limit] of ways) {
      const only: Delta = {
        shape: new Map([['up.weight', [96, 256]]]),
        params: new Map([['up.weight', delta.params.get('up.weight')!]]),
      };
      const { read } = await through(bound(), only);
      const error = relativeError(await dense(only, 'up.weight'), await dense(read.adapter.delta, 'up.weight'));
      expect(error, name).toBeLessThanOrEqual(limit);
      rows.push({
        codec: name,
        bytes: read.bytes,
        'ratio to the same in float16': read.ratio.toFixed(2),
        'relative error': error.toExponential(2),
      });
    }
    console.table(rows);
  });

  it.each(ways)('%s: replaced parameters stay exact', async (_, bound) => {
    const replaced = new Map([['head.weight', tensorRef(matrixOf('head', [3, 5]))]]);
    const made = await compress(bound(), { delta: madeUp([8, 32]), replaced, digest: '' }).result();
    const read = await readCompressed(memorySource(await joined(made.pieces)), { codecs });
    expectBitEqual('head', await read.adapter.replaced.get('head.weight')!.read(), matrixOf('head', [3, 5]));
  });
});

describe('what is compressed', () => {
  it('leaves out what is excluded and says which rule matched nothing', async () => {
    const events: CompressEvent[] = [];
    const run = compress(bitdelta({ exclude: ['up', 'nowhere'], kept: 'f16' }), madeUp([4, 8]));
    for await (const event of run) events.push(event);
    expect(events.filter(({ type }) => type === 'tensor')).toEqual([
      { type: 'tensor', path: 'mix.weight', done: 1, total: 1 },
    ]);
    expect(events.some((event) => event.type === 'warning' && event.message.includes('"nowhere"'))).toBe(true);
    const { adapter } = await run.result();
    expect(adapter.delta.params.get('up.weight')![0]!.kind).toBe('dense');
    expect(adapter.delta.params.get('up.weight')![0]!.tensors.delta!.dtype).toBe('f16');
    expect([...adapter.delta.params.keys()]).toEqual(['up.weight', 'mix.weight', 'up.bias']);
  });

  it('warns when a low-rank update becomes larger', async () => {
    const events: CompressEvent[] = [];
    for await (const event of compress(int8(), madeUp([32, 64]))) events.push(event);
    expect(events.at(-1)).toMatchObject({ type: 'warning', message: expect.stringContaining('"mix.weight"') });
  });

  it('refuses numbers that are not finite, by name', async () => {
    const delta = {
      shape: new Map([['w.weight', [1, 2]]]),
      params: new Map([['w.weight', [denseTerm(tensorRef(f32([1, 2], [1, Number.NaN])))]]]),
    };
    for (const [, bound] of ways.filter(([, , , { fours }]) => !fours))
      await expectPeftError(() => compress(bound(), delta).result(), ['DELTA_CONFLICT'], ['"w.weight"', 'NaN']);
  });

  it('takes no parameter without numbers', async () => {
    const delta = {
      shape: new Map([['w.weight', [0, 2]]]),
      params: new Map([['w.weight', [denseTerm(tensorRef(f32([0, 2], [])))]]]),
    };
    await expectPeftError(() => compress(bitdelta(), delta).result(), ['DELTA_CONFLICT'], ['[0,2]']);
  });

  it('names every width that is no multiple of four', async () => {
    const error = await expectPeftError(
      () => compress(deltazip(), madeUp([6, 10])).result(),
      ['CONFIG_INVALID'],
      ['"up.weight"', '10'],
    );
    expect(error.message).toContain('"mix.weight"');
  });

  it('spends a budget over all parameters and drops what gets nothing', async () => {
    const tiny = f32(
      [8, 8],
      Float32Array.from(matrixOf('tiny', [8, 8]).data as Float32Array, (x) => x * 1e-6),
    );
    const delta: Delta = {
      shape: new Map([
        ['a.weight', [16, 8]],
        ['b.weight', [8, 8]],
      ]),
      params: new Map([
        ['a.weight', [denseTerm(tensorRef(matrixOf('a', [16, 8])))]],
        ['b.weight', [denseTerm(tensorRef(tiny))]],
      ]),
    };
    const { adapter } = await compress(lowRank({ budget: 3 * 24, factors: 'f32' }), delta).result();
    expect([...adapter.delta.params.keys()]).toEqual(['a.weight']);
    expect(adapter.delta.params.get('a.weight')![0]!.tensors.a!.shape).toEqual([3, 8]);
  });

  it.each([
    [() => bitdelta({ bits: 9 }), 'bits'],
    [() => deltazip({ bits: 5 } as never), 'bits'],
    [() => deltazip({ groupSize: 6 }), 'groupSize'],
    [() => deltazip({ calibration: {} as never }), 'calibration'],
    [() => lowRank({ rank: 2, energy: 0.5 }), 'one of rank, energy'],
    [() => int8({ bits: 8 } as never), 'bits'],
  ])('refuses options that cannot be (%#)', async (act, named) => {
    await expectPeftError(act, ['CONFIG_INVALID'], [named]);
  });
});

describe('what 1 bit and 8 bits promise', () => {
  it('signs have the scale of least squared error', async () => {
    const delta = madeUp([9, 70]);
    const whole = await dense(delta, 'up.weight');
    const { made } = await through(bitdelta({ scale: 'row' }), delta);
    const error = async (factor: number) =>
      relativeError(whole, await dense(scale(made.adapter.delta, factor, kinds), 'up.weight'));
    const best = await error(1);
    for (const factor of [0.98, 1.02]) expect(await error(factor)).toBeGreaterThan(best);
  });

  it('compressing what one bit stands for changes nothing', async () => {
    for (const options of [{}, { scale: 'row' }] as const) {
      const { made } = await through(bitdelta(options), madeUp([9, 70]));
      const again = await compress(bitdelta(options), made.adapter.delta, { kinds }).result();
      expect(again.adapter.digest).toBe(made.adapter.digest);
    }
  });

  it('eight bits are off by half a step of their row at most', async () => {
    const delta = madeUp([9, 70]);
    const whole = await dense(delta, 'up.weight');
    const { made } = await through(int8(), delta);
    const got = await dense(made.adapter.delta, 'up.weight');
    const steps = (await made.adapter.delta.params.get('up.weight')![0]!.tensors.scale!.read()).data as Float32Array;
    whole.forEach((x, i) => {
      expect(Math.abs(x - got[i]!)).toBeLessThanOrEqual(0.5 * steps[Math.floor(i / 70)]! * (1 + 1e-5));
    });
  });

  it('asymmetric codes keep zeros', async () => {
    const w = f32([2, 4], [0, 3, 5, 1, -2, 0, 0, 7]);
    const delta = {
      shape: new Map([['w.weight', [2, 4]]]),
      params: new Map([['w.weight', [denseTerm(tensorRef(w))]]]),
    };
    const { made } = await through(int8({ symmetric: false }), delta);
    const got = await dense(made.adapter.delta, 'w.weight');
    for (const i of [0, 5, 6]) expect(got[i]).toBe(0);
  });

  it('low-rank-int8 enters slots as it stands', async () => {
    const { made } = await through(lowRank({ rank: 2, factors: 'int8' }), madeUp([6, 10]));
    for (const [path, [rows, columns]] of [
      ['up.weight', [6, 10]],
      ['mix.weight', [6, 10]],
    ] as const) {
      const [term] = made.adapter.delta.params.get(path)!;
      const { a, b, rank } = (await kindOf(term!, kinds).slots!(term!, [rows, columns]))!;
      const whole = await dense(made.adapter.delta, path);
      const transposed = term!.meta.transposed === true;
      const [inside, out] = transposed ? [rows, columns] : [columns, rows];
      expect([a.shape, b.shape]).toEqual([
        [inside, rank],
        [rank, out],
      ]);
      for (let o = 0; o < out; o++)
        for (let i = 0; i < inside; i++) {
          let sum = 0;
          for (let k = 0; k < rank; k++) sum += Number(a.data[i * rank + k]) * Number(b.data[k * out + o]);
          expect(sum).toBeCloseTo(whole[transposed ? i * columns + o : o * columns + i]!, 8);
        }
    }
  });
});

describe('a stranger’s file', () => {
  const term = (own: Partial<Term>): Delta => ({
    shape: new Map([['w.weight', [4, 8]]]),
    params: new Map([['w.weight', [{ kind: 'signs', tensors: {}, meta: { scale: 1 }, ...own }]]]),
  });
  const mask = (word: number) => tensorRef(tensor('i32', [1, 4], new Int32Array(4).fill(word)));
  const one = tensorRef(tensor('f32', [], Float32Array.of(1)));
  const bytes = (width: number, fill = 0) => tensorRef(tensor('u8', [4, width], new Uint8Array(4 * width).fill(fill)));
  const scales = tensorRef(tensor('f32', [4, 1], new Float32Array(4)));
  const form = { scale: 1, bits: 4, structured: true, groupSize: 8, transposed: false };

  const cases: readonly (readonly [string, (typeof codecs)[number], Delta, string])[] = [
    ['spare bits', bitdelta, term({ tensors: { mask: mask(1 << 8), scale: one } }), 'beyond its 8 columns'],
    [
      'an infinite scale',
      bitdelta,
      term({
        tensors: { mask: mask(1), scale: tensorRef(tensor('f32', [], Float32Array.of(Number.POSITIVE_INFINITY))) },
      }),
      'Infinity',
    ],
    [
      'a mask of another shape',
      bitdelta,
      term({ tensors: { mask: tensorRef(tensor('i32', [2, 4], new Int32Array(8))), scale: one } }),
      'i32 [2,4]',
    ],
    ['a missing tensor', bitdelta, term({ tensors: { scale: one } }), '"mask"'],
    ['a tensor too many', bitdelta, term({ tensors: { mask: mask(0), scale: one, more: one } }), 'more'],
    [
      'positions out of order',
      deltazip,
      term({
        kind: 'deltazip',
        meta: form,
        tensors: { values: bytes(2), scale: scales, positions: bytes(1, 0b0000_0001) },
      }),
      'out of order',
    ],
    [
      'bits that there are not',
      deltazip,
      term({
        kind: 'deltazip',
        meta: { ...form, bits: 5 },
        tensors: { values: bytes(2), scale: scales, positions: bytes(1) },
      }),
      'bits are 5',
    ],
    [
      'a group size of zero',
      deltazip,
      term({
        kind: 'deltazip',
        meta: { ...form, groupSize: 0 },
        tensors: { values: bytes(2), scale: scales, positions: bytes(1) },
      }),
      'groupSize is 0',
    ],
    [
      'too few values',
      deltazip,
      term({ kind: 'deltazip', meta: form, tensors: { values: bytes(1), scale: scales, positions: bytes(1) } }),
      'u8 [4,1]',
    ],
    [
      'rank 0',
      lowRank,
      term({ kind: 'low-rank', tensors: { a: tensorRef(f32([0, 8], [])), b: tensorRef(f32([4, 0], [])) } }),
      'rank 0',
    ],
  ];

  it.each(cases)('with %s is refused', async (_, { codec }, delta, named) => {
    const packed = await codec.encode(delta);
    await expectPeftError(() => codec.decode(packed, 'file'), ['FILE_INVALID'], ['w.weight', named]);
  });

  it('whose header and section disagree is refused', async () => {
    const good = await bitdelta.codec.encode(term({ tensors: { mask: mask(1), scale: one } }));
    const decode = (change: object) => bitdelta.codec.decode({ ...good, ...change }, 'file');
    await expect(decode({})).resolves.toMatchObject({ shape: good.shape });
    for (const change of [
      { header: { terms: [] } },
      { header: { terms: [['w.weight', 'int8', {}]] } },
      { header: { terms: [['other.weight', 'signs', { scale: 1 }]] } },
      { header: { terms: [['w.weight', 'signs', { scale: {} }]] } },
      { header: null },
      { sections: [] },
      { sections: [good.sections[0]!.subarray(0, 40)] },
      { shape: new Map([['w.weight', [2 ** 40, 0]]]) },
      { shape: new Map([['w.weight', [2 ** 24, 2 ** 24]]]) },
      { shape: new Map([...good.shape, ['x', [1]]]) },
    ])
      await expectPeftError(() => decode(change), ['FILE_INVALID']);
  });

  it('cut anywhere, or with a bit turned, is refused', async () => {
    const { bytes: whole } = await through(deltazip(), madeUp([4, 8]));
    const read = (part: Uint8Array) =>
      readCompressed(memorySource(part), { codecs }).then(
        () => 'read',
        (error: unknown) => (isPeftError(error) ? error.code : error),
      );
    const outcomes = new Set<unknown>();
    for (let n = 0; n < whole.length; n += 7) outcomes.add(await read(whole.slice(0, n)));
    for (let at = 8; at < whole.length; at += 11) outcomes.add(await read(whole.map((x, i) => (i === at ? x ^ 4 : x))));
    expect([...outcomes].filter((code) => code !== 'FILE_INVALID' && code !== 'CONFIG_UNSUPPORTED')).toEqual([]);
  });
});
