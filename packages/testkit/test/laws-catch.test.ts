import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Backend,
  defineMethod,
  f32,
  type Method,
  type Program,
  type Tensor,
  type Term,
  tensorRef,
} from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import { lora } from '@peftjs/lora';
import { onnxruntime } from '@peftjs/onnxruntime';
import { describe, expect, it } from 'vitest';
import {
  backendLaws,
  checkLaws,
  fixtureFormat,
  fixtureResults,
  methodLaws,
  referenceBackend,
  type TestMethodOptions,
  tinyFeeds,
} from '../src/index.js';
import { openScene } from '../src/method-laws/scene.js';

const config = { r: 2, targetModules: ['up', 'down'] };

/** Names of the laws that LoRA breaks when parts of it are replaced. */
async function brokenBy(parts: Partial<Method>, options: TestMethodOptions = {}): Promise<string[]> {
  const broken = defineMethod({ ...(lora.method as unknown as Method), ...parts });
  return [...(await checkLaws(methodLaws(broken, { config, ...options }))).keys()];
}

const method = lora.method as unknown as Method;
const mapped = (t: Tensor, f: (v: number) => number): Tensor => f32(t.shape, (t.data as Float32Array).map(f));

describe('the laws of a method catch', () => {
  it('nothing in a method that keeps them', async () => {
    expect(await brokenBy({})).toEqual([]);
  });

  it('a start that changes the model', async () => {
    const init: Method['init'] = (target, c, rng, given) => {
      const { train } = method.init(target, c, rng, given);
      return { train: { ...train, b: mapped(train.b!, () => 0.1) } };
    };
    expect(await brokenBy({ init })).toContain('starts without changing the model');
    expect(await brokenBy({ init }, { startsChanged: true })).toEqual([]);
  });

  it('a fast path that is not the definition', async () => {
    const broken = await brokenBy({ apply: (site, ops) => ops.mul(method.apply!(site, ops), 1.001) });
    expect(broken).toContain('delta has the shape (out, in), and apply is x ΔWᵀ');
    expect(broken).toContain('attached, beside the base and merged, it computes the same');
  });

  it('a wrong count of trainables', async () => {
    expect(await brokenBy({ size: (target, c) => method.size(target, c) + 1 })).toContain(
      'trains as many numbers as size says',
    );
  });

  it('a saved update with another scale', async () => {
    const toDelta: Method['toDelta'] = (site) => {
      const { weight } = method.toDelta(site) as Record<string, Term>;
      return { weight: { ...weight!, meta: { ...weight!.meta, scale: Number(weight!.meta.scale) * 1.01 } } };
    };
    expect(await brokenBy({ toDelta })).toContain('what is saved is ΔW, in the layout of the parameter');
  });

  it('a start that does not come from the seed', async () => {
    let calls = 0;
    const init: Method['init'] = (target, c, rng, given) => method.init(target, c, rng.fork('call', calls++), given);
    expect(await brokenBy({ init })).toContain('starts from the seed alone, each target for itself');
  });

  it('a start that is lost when an adapter is trained on', async () => {
    const fromDelta: Method['fromDelta'] = async (site) => {
      const p = await method.fromDelta!(site);
      return { ...p, a: mapped(p.a!, (v) => v * 2) };
    };
    expect(await brokenBy({ fromDelta })).toContain(
      'goes on from its file with the loss that the run ended with, or says what to do instead',
    );
  });

  it('a derivative that is wrong', async () => {
    const apply: Method['apply'] = (site, ops) => {
      const y = method.apply!(site, ops);
      const twice = ops.identity(y);
      return ops.macro(twice, [y], (dy) => [ops.mul(dy, 2)]);
    };
    expect(await brokenBy({ apply })).toContain('gradients agree with finite differences, and nothing frozen has one');
  });
});

/** A backend whose programs are changed before they are handed out. */
const wrapped = (change: (program: Program) => Partial<Program>): Backend => {
  const inner = referenceBackend();
  return {
    ...inner,
    compile: async (...given) => {
      const program = await inner.compile(...given);
      return { ...program, ...change(program) };
    },
  };
};

const backendBreaks = async (backend: Backend): Promise<string[]> => [
  ...(await checkLaws(backendLaws(() => backend, { tolerance: { relToMax: 2e-6 } }))).keys(),
];

describe('the laws of a backend catch', () => {
  it('results that are a little off', async () => {
    const off = wrapped((program) => ({
      run: async (feeds) => {
        const outputs = Object.entries(await program.run(feeds));
        return Object.fromEntries(
          outputs.map(([name, t]) => [name, t.dtype === 'f32' ? mapped(t, (v) => v * 1.00001) : t]),
        );
      },
    }));
    const broken = await backendBreaks(off);
    expect(broken).toContain('computes exp and its gradients');
    expect(broken).toContain('computes attention under a mask and its gradients');
  });

  it('a run after disposal, and an abort that is not heard', async () => {
    const undying = wrapped((program) => ({ run: (feeds) => program.run(feeds), dispose: async () => {} }));
    const broken = await backendBreaks(undying);
    expect(broken).toContain('a disposed program refuses to run, and can be disposed again');
    expect(broken).toContain('honours an aborted signal');
  });
});

it('a fixture of numbers made elsewhere is compared, and a wrong number is found', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-fixture-'));
  try {
    const path = join(folder, 'fixture.safetensors');
    const scene = await openScene(lora, { config }, async () => referenceBackend());
    const inputs = {
      model: scene.model,
      plan: scene.plan,
      start: scene.random,
      feeds: tinyFeeds(6),
      lr: 0.02,
      steps: 10,
    };
    const results = await fixtureResults(inputs, referenceBackend());
    const named = (prefix: string, tensors: Iterable<readonly [string, Tensor]>) =>
      [...tensors].map(([name, t]) => [`${prefix}${name}`, tensorRef(t)] as const);
    const write = (more: ReadonlyMap<string, Tensor>) =>
      writeSafetensors(
        path,
        new Map([
          ...[...scene.model.parameters].map(([name, ref]) => [`base/${name}`, ref] as const),
          ...named('start/', scene.random.train),
          ...named('feeds/', Object.entries(inputs.feeds)),
          ...named('', more),
        ]),
        {
          metadata: new Map([
            ['format', fixtureFormat],
            ['config', JSON.stringify(config)],
            ['lr', '0.02'],
          ]),
        },
      );
    const check = async () => [
      ...(await checkLaws(methodLaws(lora, { config, fixture: path, backend: () => onnxruntime() }))).values(),
    ];
    await write(results);
    expect(await check()).toEqual([]);
    await write(new Map([...results, ['losses', mapped(results.get('losses')!, (v) => v * 1.001)]]));
    expect(String(await check())).toMatch(/losses: largest difference/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
