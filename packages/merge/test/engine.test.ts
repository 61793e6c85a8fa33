import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { denseTerm, f32, readAdapter, scalingTerm, type Tensor, tensorRef, toF32 } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import {
  breadcrumbs,
  dare,
  linear,
  type MergeEvent,
  merge,
  mergeTensors,
  modelStock,
  opcm,
  sce,
  slerp,
  taskArithmetic,
  ties,
} from '../src/index.js';
import { inDtype, numbers, readModel, shapesOf, temporary, writeModel } from './models.js';

const base = numbers(1);
const [a, b, c] = [2, 3, 4].map((seed) => numbers(seed, shapesOf(2), base)) as [
  Map<string, Tensor>,
  Map<string, Tensor>,
  Map<string, Tensor>,
];

let written: Promise<{ base: string; models: string[] }> | undefined;
/** The models as directories, written once. */
const paths = () => {
  written ??= (async () => ({
    base: await writeModel('base', base),
    models: [await writeModel('a', a), await writeModel('b', b), await writeModel('c', c)],
  }))();
  return written;
};

const bytesOf = (tensors: ReadonlyMap<string, Tensor>) =>
  Object.fromEntries(
    [...tensors].map(([name, { dtype, shape, data }]) => [
      name,
      [dtype, [...shape], Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')],
    ]),
  );

const digest = (folder: string) =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.safetensors'))
    .map((file) => [
      file,
      createHash('sha256')
        .update(readFileSync(join(folder, file)))
        .digest('hex'),
    ]);

describe('the engine gives what the methods give in memory', () => {
  const cases = [
    ['linear', linear, {}, false],
    ['task_arithmetic', taskArithmetic, {}, true],
    ['ties', ties, { density: 0.3 }, true],
    ['ties over all tensors', ties, { variant: 'ties-merging', density: 0.2 }, true],
    ['dare', dare, { density: 0.5 }, true],
    ['breadcrumbs', breadcrumbs, { density: 0.7, gamma: 0.05 }, true],
    ['model_stock', modelStock, {}, true],
    ['sce', sce, { selectTopk: 0.5 }, true],
  ] as const;
  it.each(cases)('%s', async (_, method, parameters, withBase) => {
    const from = await paths();
    const output = temporary('out');
    // biome-ignore lint/suspicious/noExplicitAny: a table of methods with options of different types
    const call = method as any;
    const options = { output, threads: 0, seed: 5, ...(withBase && { base: from.base }) };
    const result = await merge(call(parameters), from.models, options).result();
    expect(result).toMatchObject({ tensors: base.size, output });
    const wanted = mergeTensors(call, {
      ...(withBase && { base }),
      models: [a, b, c],
      ids: ['a', 'b', 'c'],
      parameters,
      seed: 5,
    });
    expect(bytesOf(await readModel(output))).toEqual(
      bytesOf(new Map([...base.keys()].map((k) => [k, wanted.get(k)!]))),
    );
  });

  it('a method that needs all tensors at once', async () => {
    const shapes = new Map<string, readonly number[]>([
      ['w', [6, 5]],
      ['v', [4]],
    ]);
    const start = numbers(7, shapes);
    const models = [8, 9].map((seed) => numbers(seed, shapes, start));
    const refs = (t: ReadonlyMap<string, Tensor>) => new Map([...t].map(([name, tensor]) => [name, tensorRef(tensor)]));
    const { parameters } = await merge(opcm(), models.map(refs), { base: refs(start) }).result();
    const wanted = mergeTensors(opcm, { base: start, models, ids: ['model 1', 'model 2'] });
    const got = new Map<string, Tensor>();
    for (const [name, ref] of parameters!) got.set(name, await ref.read());
    expect(bytesOf(got)).toEqual(bytesOf(new Map([...start.keys()].map((k) => [k, wanted.get(k)!]))));
  });
});

describe('threads', () => {
  it.each([
    ['dare with ties', dare({ density: 0.5, consensus: 'total' })],
    ['ties over all tensors', ties({ variant: 'paper' })],
  ])('%s: the same bytes with none, one and three', async (_, method) => {
    const from = await paths();
    const digests = [];
    for (const threads of [0, 1, 3]) {
      const output = temporary('out');
      await merge(method, from.models, { base: from.base, output, threads, seed: 9 }).result();
      digests.push(digest(output));
    }
    expect(digests[1]).toEqual(digests[0]);
    expect(digests[2]).toEqual(digests[0]);
  });

  it('another seed gives other bytes', async () => {
    const from = await paths();
    const outputs = [temporary('x'), temporary('y')];
    for (const [seed, output] of outputs.entries())
      await merge(dare({ density: 0.5 }), from.models, { base: from.base, output, seed }).result();
    expect(digest(outputs[0]!)).not.toEqual(digest(outputs[1]!));
  });
});

describe('files', () => {
  it('reads f16 and bf16, computes in float32 and rounds once', async () => {
    const scalar = (t: Map<string, Tensor>) => new Map(t).set('scale', f32([], [Math.PI]));
    const [x, y] = [scalar(a), scalar(b)];
    const models = [await writeModel('h', inDtype(x, 'f16')), await writeModel('b', inDtype(y, 'bf16'))];
    const output = temporary('out');
    await merge(linear(), models, { output, outDtype: 'bf16' }).result();
    const got = await readModel(output);
    const wanted = mergeTensors(linear, {
      models: [inDtype(inDtype(x, 'f16'), 'f32'), inDtype(inDtype(y, 'bf16'), 'f32')],
    });
    expect(bytesOf(got)).toEqual(bytesOf(inDtype(wanted, 'bf16')));
    expect(JSON.parse(readFileSync(join(output, 'config.json'), 'utf8'))).toMatchObject({ torch_dtype: 'bfloat16' });
  });

  it('shards as they fill, with index, configuration and tokenizer', async () => {
    const vocabulary = { x: 0, y: 1 };
    const from = await writeModel('base', base, { vocabulary, maxShardBytes: 3000 });
    const other = await writeModel('a', a, { vocabulary });
    const output = temporary('out');
    await merge(taskArithmetic(), [other], { base: from, output, maxShardBytes: 2000 }).result();
    const names = readdirSync(output);
    expect(names).toEqual(expect.arrayContaining(['config.json', 'tokenizer.json', 'model.safetensors.index.json']));
    expect(names.filter((name) => name.endsWith('.safetensors')).length).toBeGreaterThan(1);
    const [got, wanted] = [await readModel(output), mergeTensors(taskArithmetic, { base, models: [a] })];
    for (const [name, { data }] of got) expect([...data]).toEqual([...wanted.get(name)!.data]);
  });

  it('copies tensors that are no floats, and refuses them when they differ', async () => {
    const ids = (value: bigint): [string, Tensor] => [
      'ids',
      { dtype: 'i64', shape: [2], data: BigInt64Array.of(0n, value) },
    ];
    const models = [await writeModel('a', new Map([...a, ids(1n)])), await writeModel('b', new Map([...b, ids(1n)]))];
    const output = temporary('out');
    await merge(linear(), models, { output }).result();
    expect((await readModel(output)).get('ids')!.data).toEqual(BigInt64Array.of(0n, 1n));
    const differing = [models[0]!, await writeModel('c', new Map([...c, ids(2n)]))];
    await expectPeftError(
      () => merge(linear(), differing, { output: temporary('no') }).result(),
      ['DELTA_CONFLICT'],
      ['ids'],
    );
  });
});

describe('updates', () => {
  const shape = [12, 12];
  const path = 'model.layers.0.self_attn.q_proj.weight';
  const delta = (seed: number) => {
    const { data } = numbers(seed, new Map([[path, shape]])).get(path)!;
    return {
      shape: new Map([[path, shape]]),
      params: new Map([[path, [denseTerm(tensorRef(f32(shape, data as Float32Array)))]]]),
    };
  };

  it('alone give an update', async () => {
    const { delta: merged } = await merge(ties({ density: 0.5 }), [
      delta(1),
      { input: delta(2), weight: 0.5 },
    ]).result();
    const term = merged!.params.get(path)![0]!;
    const got = toF32(await term.tensors.delta!.read()).data;
    const zero = new Map([[path, f32(shape, new Float32Array(144))]]);
    const models = await Promise.all(
      [delta(1), delta(2)].map(
        async ({ params }) => new Map([[path, await params.get(path)![0]!.tensors.delta!.read()]]),
      ),
    );
    const wanted = mergeTensors(ties, { base: zero, models, weights: [1, 0.5], parameters: { density: 0.5 } });
    expect([...got]).toEqual([...wanted.get(path)!.data]);
  });

  it('that are no sums take the base in, and are refused without one', async () => {
    const from = await paths();
    const l = f32(
      [12],
      Float32Array.from({ length: 12 }, (_, i) => 1 + i / 10),
    );
    const scaled = {
      shape: new Map([
        [path, shape],
        ['model.layers.0.self_attn.q_proj.bias', [12]],
      ]),
      params: new Map([
        [path, [scalingTerm(tensorRef(l), { side: 'output' })]],
        ['model.layers.0.self_attn.q_proj.bias', [scalingTerm(tensorRef(l), { side: 'output' })]],
      ]),
    };
    const output = temporary('out');
    await merge(taskArithmetic(), [scaled, delta(3)], { base: from.base, output }).result();
    const got = (await readModel(output)).get(path)!.data as Float32Array;
    const added = (await delta(3).params.get(path)![0]!.tensors.delta!.read()).data as Float32Array;
    (base.get(path)!.data as Float32Array).forEach((w, i) => {
      expect(Math.abs(got[i]! - (w * l.data[Math.floor(i / 12)]! + added[i]!))).toBeLessThan(2e-6); // w · l is rounded first
    });
    await expectPeftError(
      () => merge(ties(), [scaled, delta(1)]).result(),
      ['ADAPTER_MISMATCH'],
      ['scaling', 'name the base', path],
    );
  });

  it('and checkpoints together, on a base', async () => {
    const from = await paths();
    const output = temporary('out');
    await merge(taskArithmetic(), [from.models[0]!, delta(3)], { base: from.base, output }).result();
    const got = (await readModel(output)).get(path)!.data as Float32Array;
    const added = (await delta(3).params.get(path)![0]!.tensors.delta!.read()).data as Float32Array;
    const wanted = (a.get(path)!.data as Float32Array).map((x, i) => x + added[i]!);
    got.forEach((x, i) => {
      expect(Math.abs(x - wanted[i]!)).toBeLessThan(1e-6);
    });
  });

  it('are written as a file of differences, which is an input again', async () => {
    const from = await paths();
    const [difference, output] = [temporary('difference'), temporary('out')];
    await merge(linear(), [from.models[0]!], { base: from.base, as: 'delta', output: difference }).result();
    await merge(taskArithmetic(), [difference], { base: from.base, output }).result();
    for (const [name, { data }] of await readModel(output))
      (data as Float32Array).forEach((x, i) => {
        expect(Math.abs(x - (a.get(name)!.data[i] as number))).toBeLessThan(1e-6);
      });
  });

  it('are written as an adapter of a rank', async () => {
    const output = temporary('adapter');
    const { discarded } = await merge(linear(), [delta(1), delta(2)], { as: 'adapter', output, rank: 12 }).result();
    expect(discarded).toBeLessThan(1e-6);
    expect((await readAdapter(output)).base).toBeUndefined();
    const again = await merge(linear(), [output]).result();
    const { delta: both } = await merge(linear(), [delta(1), delta(2)]).result();
    const read = async (d: typeof both) => toF32(await d!.params.get(path)![0]!.tensors.delta!.read()).data;
    const [got, wanted] = [await read(again.delta), await read(both)];
    got.forEach((x, i) => {
      expect(Math.abs(x - wanted[i]!)).toBeLessThan(2e-5); // factors and decomposition in float32
    });
  });

  it('of one base make an adapter that belongs to it, of different ones none', async () => {
    const madeFor = (seed: number, digest: string) => ({
      ...{ delta: delta(seed), replaced: new Map(), digest: String(seed) },
      base: { name: `base ${digest}`, digest },
    });
    const output = temporary('adapter');
    const [one, two, other] = [madeFor(1, 'aa'), madeFor(2, 'aa'), madeFor(3, 'bb')];
    await merge(linear(), [one, two], { as: 'adapter', output, rank: 12 }).result();
    expect((await readAdapter(output)).base).toEqual({ name: 'base aa', digest: 'aa' });
    for (const base of [undefined, (await paths()).base])
      await expectPeftError(
        () => merge(taskArithmetic(), [one, other], { ...(base !== undefined && { base }) }).result(),
        ['ADAPTER_MISMATCH'],
        ['different bases: aa, bb', 'base.digest'],
      );
  });
});

describe('runs', () => {
  it('say what they will do before they do it, and each tensor that is done', async () => {
    const from = await paths();
    const events: MergeEvent[] = [];
    for await (const event of merge(linear(), from.models, { output: temporary('out') })) events.push(event);
    expect(events[0]).toMatchObject({ type: 'start', method: 'linear', models: ['a', 'b', 'c'], tensors: base.size });
    expect(events[0]).toHaveProperty('estimatedBytes', expect.any(Number));
    expect(events.slice(1).map(({ type }) => type)).toEqual([...base.keys()].map(() => 'tensor'));
    expect(events.at(-1)).toMatchObject({ done: base.size, of: base.size, share: 1 });
  });

  it.each([0, 2])('that are left leave nothing behind (%i threads)', async (threads) => {
    const from = await paths();
    const output = temporary('out');
    const run = merge(linear(), from.models, { output, threads });
    for await (const event of run) if (event.type === 'tensor') break;
    expect(existsSync(output)).toBe(false);
    expect(readdirSync(dirname(output))).toEqual([]);
    await expectPeftError(() => run.result(), ['CANCELLED'], []);
  });

  it('that fail leave nothing behind and the old directory as it was', async () => {
    const broken = new Map(b).set('head.scale', f32([4], [1, Number.NaN, 1, 1]));
    const output = await writeModel('out', a);
    const before = digest(output);
    const inputs = [await writeModel('a', a), await writeModel('b', broken)];
    await expectPeftError(
      () => merge(linear(), inputs, { output }).result(),
      ['DELTA_CONFLICT'],
      ['head.scale', 'NaN'],
    );
    expect(digest(output)).toEqual(before);
    expect(readdirSync(dirname(output))).toEqual(['out']);
  });

  it('refuse results that a dtype cannot hold', async () => {
    const large = new Map([['w', f32([2], [7e4, 1])]]);
    const inputs = [await writeModel('large', large)];
    const call = () => merge(linear(), inputs, { output: temporary('no'), outDtype: 'f16' }).result();
    await expectPeftError(call, ['DELTA_CONFLICT'], ['f16 cannot hold', 'outDtype']);
  });
});

describe('inputs that do not fit', () => {
  it('are listed all at once: tensors, shapes and vocabularies', async () => {
    const odd = new Map(b).set('model.norm.weight', f32([3], [1, 2, 3])).set('extra.weight', f32([1], [1]));
    odd.delete('lm_head.weight');
    const inputs = [
      await writeModel('a', a, { vocabulary: { x: 0, y: 1 } }),
      await writeModel('b', odd, { vocabulary: { y: 0, x: 1 } }),
    ];
    const error = await expectPeftError(
      () => merge(linear(), inputs, { output: temporary('no') }).result(),
      ['DELTA_CONFLICT'],
      [],
    );
    for (const text of ['model.norm.weight', 'extra.weight', 'lm_head.weight', 'vocabularies of a and b'])
      expect(error.message).toContain(text);
  });

  it('updates without a base make no checkpoint; a slerp takes two', async () => {
    const from = await paths();
    await expectPeftError(() => merge(ties(), from.models).result(), ['CONFIG_INVALID'], ['needs a base']);
    await expectPeftError(() => merge(slerp({ t: 0.5 }), from.models).result(), ['CONFIG_INVALID'], ['not 3']);
  });
});
