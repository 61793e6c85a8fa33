import {
  createGraph,
  createOps,
  createRandom,
  dora as doraKind,
  doraTerm,
  f32,
  gradients,
  type Target,
  type Tensor,
  tensorRef,
} from '@peftjs/core';
import { expectClose, finiteDifference, referenceBackend } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { norms, squaredNorms } from '../src/dora.js';
import { LoraConfig, lora } from '../src/index.js';

const rng = createRandom(11);
const [inside, out, r, rows] = [5, 4, 2, 3];
const kinds = ['linear', 'conv1d', 'embedding'] as const;
const targetOf = (kind: Target['kind']): Target => ({ kind, path: kind, in: inside, out, parameters: {} });
const shapeOf = (kind: Target['kind']) => (kind === 'linear' ? [out, inside] : [inside, out]);
const data = (tensor: Tensor | undefined) => tensor!.data as Float32Array;

/** Tensors of one target: base weight, factors, magnitude. */
const tensorsOf = (kind: Target['kind']) => ({
  W: rng.fork(kind, 'w').normal(shapeOf(kind)),
  bias: rng.fork(kind, 'bias').normal([out]),
  a: rng.fork(kind, 'a').normal([r, inside]),
  b: rng.fork(kind, 'b').normal([out, r]),
  m: rng.fork(kind, 'm').uniform([out], 0.5, 2),
});

const c = LoraConfig.parse({ r, alpha: 3, dora: true });
const s = 3 / r;

/** The module with DoRA in it, over inputs of the graph. */
async function forward(kind: Target['kind'], dropped: boolean, feeds: Record<string, Tensor>, W = tensorsOf(kind).W) {
  const target = targetOf(kind);
  const { bias } = tensorsOf(kind);
  const graph = createGraph('module');
  const ops = createOps(graph);
  const p = Object.fromEntries(
    ['a', 'b', 'm'].map((letter) => [letter, ops.input(letter, 'f32', feeds[letter]!.shape)]),
  );
  const squares = ops.constant(f32([out], squaredNorms(target, W)));
  const ids = kind === 'embedding';
  const x = ops.input('x', ids ? 'i64' : 'f32', feeds.x!.shape);
  const dry = dropped ? ops.input('dry', 'f32', feeds.x!.shape) : x;
  const [w, offset] = [ops.constant(W), ops.constant(bias)];
  const y = ids ? ops.gather(w, x) : ops.gemm(dry, w, offset, { transB: kind === 'linear' });
  const site = { target, c, p: { ...p, squares }, s: {}, x, y, dropped };
  const parameters = { weight: w, ...(ids ? {} : { bias: offset }) };
  const sum = ops.add(y, lora.method.apply!({ ...site, parameters }, ops));
  const result = ops.output(lora.method.rewrite!({ ...site, y: sum, parameters }, ops), 'y');
  const loss = ops.output(ops.sum(ops.mul(result, result), [0, 1], { keepdims: false }), 'loss');
  for (const letter of ['a', 'b', 'm']) ops.output(gradients(graph, loss, [p[letter]!])[0]!, `d ${letter}`);
  const program = await referenceBackend({ wide: true }).compile(graph);
  return { program, results: await program.run(feeds) };
}

describe('DoRA', () => {
  it.each(kinds)('finds the norm of each output without forming the weight (%s)', async (kind) => {
    const target = targetOf(kind);
    const { W, a, b } = tensorsOf(kind);
    const graph = createGraph('norms');
    const ops = createOps(graph);
    const given = { W: ops.constant(W), squares: ops.constant(f32([out], squaredNorms(target, W))), s };
    ops.output(norms(target, { ...given, a: ops.constant(a), b: ops.constant(b) }, ops), 'norms');
    const { norms: got } = await (await referenceBackend().compile(graph)).run({});
    const expected = Float64Array.from({ length: out }, (_, o) => {
      let square = 0;
      for (let i = 0; i < inside; i++) {
        let v = data(W)[kind === 'linear' ? o * inside + i : i * out + o]!;
        for (let k = 0; k < r; k++) v += s * data(b)[o * r + k]! * data(a)[k * inside + i]!;
        square += v * v;
      }
      return Math.sqrt(square);
    });
    expectClose('norms', got!, f32([out], expected), { relToMax: 1e-6 });
  });

  it.each(kinds)('keeps an output whose weights are all zero as it is, with gradients of zero (%s)', async (kind) => {
    const { W, bias, a, b, m } = tensorsOf(kind);
    const zeroed = (tensor: Tensor, of: (at: number) => boolean) =>
      f32(
        tensor.shape,
        data(tensor).map((x, at) => (of(at) ? 0 : x)),
      );
    const base = zeroed(W, (at) => (kind === 'linear' ? at < inside : at % out === 0));
    const ids = kind === 'embedding';
    const x: Tensor = ids
      ? { dtype: 'i64', shape: [rows], data: BigInt64Array.of(0n, 4n, 2n) }
      : rng.fork('x').normal([rows, inside]);
    const feeds = { a, b: zeroed(b, (at) => at < r), m: zeroed(m, (at) => at === 0), x };
    const { results } = await forward(kind, false, feeds, base);
    for (let row = 0; row < rows; row++) expect(data(results.y)[row * out]).toBe(ids ? 0 : data(bias)[0]);
    for (const letter of ['a', 'b', 'm']) expect(data(results[`d ${letter}`]).every(Number.isFinite)).toBe(true);
    expect([data(results['d m'])[0], ...data(results['d b']).slice(0, r)]).toEqual([0, 0, 0]);
  });

  it('has a norm where B A takes the whole weight away, whatever rounding leaves', async () => {
    const target = targetOf('linear');
    for (let seed = 0; seed < 8; seed++) {
      const [a, b] = [rng.fork('away', seed, 'a').normal([r, inside]), rng.fork('away', seed, 'b').normal([out, r])];
      const W = f32(
        [out, inside],
        Float32Array.from({ length: out * inside }, (_, at) => {
          const [o, i] = [Math.floor(at / inside), at % inside];
          return -s * (data(b)[o * r]! * data(a)[i]! + data(b)[o * r + 1]! * data(a)[inside + i]!);
        }),
      );
      const graph = createGraph('norms');
      const ops = createOps(graph);
      const given = { W: ops.constant(W), squares: ops.constant(f32([out], squaredNorms(target, W))), s };
      ops.output(norms(target, { ...given, a: ops.constant(a), b: ops.constant(b) }, ops), 'norms');
      const { norms: got } = await (await referenceBackend().compile(graph)).run({});
      expect(data(got).every((norm) => norm > 0)).toBe(true);
    }
  });

  it.each(kinds)('acts as the weight that is merged, without its bias (%s)', async (kind) => {
    const { W, bias, a, b, m } = tensorsOf(kind);
    const ids = kind === 'embedding';
    const x: Tensor = ids
      ? { dtype: 'i64', shape: [rows], data: BigInt64Array.of(0n, 4n, 2n) }
      : rng.fork('x').normal([rows, inside]);
    const { results } = await forward(kind, false, { a, b, m, x });
    const term = doraTerm(
      { a: tensorRef(a), b: tensorRef(b), magnitude: tensorRef(m) },
      { scale: s, transposed: kind === 'conv1d', embedding: ids },
    );
    const merged = data(await doraKind.apply!(W, term, shapeOf(kind)));
    const expected = Float64Array.from({ length: rows * out }, (_, at) => {
      const [row, o] = [Math.floor(at / out), at % out];
      if (ids) return merged[Number(x.data[row]) * out + o]!;
      let y = data(bias)[o]!;
      for (let i = 0; i < inside; i++)
        y += data(x)[row * inside + i]! * merged[kind === 'linear' ? o * inside + i : i * out + o]!;
      return y;
    });
    expectClose('outputs', results.y!, f32([rows, out], expected), { relToMax: 1e-6 });
  });

  it.each(['linear', 'conv1d'] as const)(
    'sees the dropped input twice under dropout, as PEFT does (%s)',
    async (kind) => {
      const { W, bias, a, b, m } = tensorsOf(kind);
      const dry = rng.fork('dry').normal([rows, inside]);
      const x = f32(
        [rows, inside],
        data(dry).map((v, i) => (i % 3 === 0 ? 0 : 1.5 * v)),
      );
      const { results } = await forward(kind, true, { a, b, m, x, dry });
      const w = (o: number, i: number) => data(W)[kind === 'linear' ? o * inside + i : i * out + o]!;
      const lowRank = (o: number, i: number) => {
        let sum = 0;
        for (let k = 0; k < r; k++) sum += s * data(b)[o * r + k]! * data(a)[k * inside + i]!;
        return sum;
      };
      const expected = Float64Array.from({ length: rows * out }, (_, at) => {
        const [row, o] = [Math.floor(at / out), at % out];
        let norm = 0;
        for (let i = 0; i < inside; i++) norm += (w(o, i) + lowRank(o, i)) ** 2;
        const f = data(m)[o]! / Math.sqrt(norm);
        // W x + b + (f - 1) W x̃ + f s B A x̃
        let y = data(bias)[o]!;
        for (let i = 0; i < inside; i++) {
          const [full, left] = [data(dry)[row * inside + i]!, data(x)[row * inside + i]!];
          y += w(o, i) * full + (f - 1) * w(o, i) * left + f * lowRank(o, i) * left;
        }
        return y;
      });
      expectClose('outputs', results.y!, f32([rows, out], expected), { relToMax: 1e-6 });
    },
  );

  it('takes the norm for a constant: the gradient of the magnitude is exact, that of the factors is not', async () => {
    const { a, b, m } = tensorsOf('linear');
    const feeds = { a, b, m, x: rng.fork('x').normal([rows, inside]) };
    const { program, results } = await forward('linear', false, feeds);
    const slope = (letter: string) => finiteDifference(program, { output: 'loss', feeds }, letter);
    expectClose('magnitude', results['d m']!, await slope('m'), { relToMax: 1e-6 });
    // With V = W + s B A and f = m / ‖V‖ constant: dL/dB = s (2 y ⊙ f)ᵀ x Aᵀ.
    const y = data(results.y);
    const squared = norm2(a, b);
    const expected = Float64Array.from({ length: out * r }, (_, at) => {
      const [o, k] = [Math.floor(at / r), at % r];
      let sum = 0;
      for (let row = 0; row < rows; row++) {
        let xa = 0;
        for (let i = 0; i < inside; i++) xa += data(feeds.x)[row * inside + i]! * data(a)[k * inside + i]!;
        sum += 2 * y[row * out + o]! * (data(m)[o]! / Math.sqrt(squared[o]!)) * s * xa;
      }
      return sum;
    });
    expectClose('B', results['d b']!, f32([out, r], expected), { relToMax: 1e-6 });
    const whole = await slope('b');
    expect(data(whole).some((v, i) => Math.abs(v - expected[i]!) > 0.01 * Math.abs(v))).toBe(true);
  });

  it('does not go with a bias in B, nor with LoRA-FA', () => {
    const problems = (more: object) =>
      lora.method.check!(targetOf('linear'), LoraConfig.parse({ r, dora: true, ...more }));
    expect(problems({ loraBias: true }).join()).toContain('loraBias');
    expect(problems({ fa: true }).join()).toContain('LoRA-FA');
    expect(problems({})).toEqual([]);
  });
});

function norm2(a: Tensor, b: Tensor): number[] {
  const { W } = tensorsOf('linear');
  return Array.from({ length: out }, (_, o) => {
    let square = 0;
    for (let i = 0; i < inside; i++) {
      let v = data(W)[o * inside + i]!;
      for (let k = 0; k < r; k++) v += s * data(b)[o * r + k]! * data(a)[k * inside + i]!;
      square += v * v;
    }
    return square;
  });
}
