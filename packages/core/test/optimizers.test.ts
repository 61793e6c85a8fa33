import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../../testkit/src/index.js';
import { goldensPath } from '../../testkit/src/shared.js';
import {
  adafactor,
  adagrad,
  adam,
  adamw,
  createRandom,
  f32,
  groupsOf,
  isPeftError,
  type Optimizer,
  openSafetensors,
  rmsprop,
  sgd,
  type Tensor,
} from '../src/index.js';
import { updateProgram } from './support/updates.js';

const folder = goldensPath('methods', 'cases', 'optimizers');

async function read(file: string): Promise<Map<string, Tensor>> {
  const { tensors } = await openSafetensors(join(folder!, file));
  const read = new Map<string, Tensor>();
  for (const [name, ref] of tensors) read.set(name, await ref.read());
  return read;
}

const within = (tensors: ReadonlyMap<string, Tensor>, prefix: string) =>
  new Map([...tensors].flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])));

/** As torch's classes were called for the reference, and their weight decay. */
const reference: Readonly<Record<string, readonly [Optimizer, number]>> = {
  adamw: [adamw(), 0],
  adamw_wd: [adamw({ betas: [0.9, 0.95], eps: 1e-6 }), 0.1],
  adam_l2: [adam(), 0.1],
  adamw_amsgrad: [adamw({ amsgrad: true }), 0.01],
  sgd: [sgd(), 0],
  sgd_momentum_wd: [sgd({ momentum: 0.9 }), 0.1],
  sgd_nesterov: [sgd({ momentum: 0.9, nesterov: true }), 0],
  adafactor_torch: [adafactor(), 0],
  rmsprop: [rmsprop(), 0],
  adagrad: [adagrad(), 0],
};

describe('optimizers', () => {
  for (const [name, [optimizer, decay]] of Object.entries(reference))
    it.skipIf(!folder)(`${name} as in torch (without the reference data, set PEFTJS_SHARED)`, async () => {
      const inputs = await read('inputs.safetensors');
      const expected = await read('expected.safetensors');
      const start = within(inputs, 'start/');
      const { program, update } = await updateProgram(start, { lr: 0.01, decay, optimizer });
      for (let step = 1; step <= 6; step++) {
        await update(within(inputs, `grad/${step - 1}/`), step);
        for (const parameter of start.keys()) {
          const key = `${name}/after_${step}/${parameter}`;
          if (step === 1 || step === 6)
            expectClose(key, await program.read(parameter), expected.get(key)!, { relToMax: 2e-6 });
        }
      }
    });

  it.skipIf(!folder)('clip all gradients together as torch does', async () => {
    const inputs = await read('inputs.safetensors');
    const expected = await read('expected.safetensors');
    const start = within(inputs, 'start/');
    const zeros = new Map(
      [...start].map(([name, { shape, data }]) => [name, f32(shape, new Float32Array(data.length))]),
    );
    for (const max of ['0.5', '5.0', '1000.0']) {
      const { program, update } = await updateProgram(zeros, { lr: 1, decay: 0, optimizer: sgd() }, Number(max));
      const { grad_norm: norm } = await update(within(inputs, 'grad/0/'), 1);
      const known = expected.get(`clip_${max}/norm`)!;
      expectClose(`norm for ${max}`, f32(known.shape, [Number(norm!.data[0])]), known, { relative: 2e-6 });
      for (const name of start.keys()) {
        const { shape, data } = await program.read(name);
        const clipped = f32(
          shape,
          (data as Float32Array).map((v) => -v),
        );
        expectClose(`${name} for ${max}`, clipped, expected.get(`clip_${max}/${name}`)!, { relToMax: 2e-6 });
      }
    }
  });

  it("adds eps before the bias correction and decays after the step, as PEFT's LoRA-FA optimizer", async () => {
    const p = createRandom(1).normal([5]);
    const grads = [2, 3, 4].map((seed) => createRandom(seed).normal([5], 0, 1e-5));
    const optimizer = adamw({ eps: 1e-6, epsPlacement: 'before', decayPlacement: 'after' });
    const { program, update } = await updateProgram(new Map([['p', p]]), { lr: 0.005, decay: 0.05, optimizer });
    const [m, v] = [new Float64Array(5), new Float64Array(5)];
    const want = Float64Array.from(p.data as Float32Array);
    for (const [i, g] of grads.entries()) {
      await update(new Map([['p', g]]), i + 1);
      const size = (0.005 * Math.sqrt(1 - 0.999 ** (i + 1))) / (1 - 0.9 ** (i + 1));
      for (let k = 0; k < 5; k++) {
        m[k] = 0.9 * m[k]! + 0.1 * Number(g.data[k]);
        v[k] = 0.999 * v[k]! + 0.001 * Number(g.data[k]) ** 2;
        want[k] = want[k]! - (size * m[k]!) / (Math.sqrt(v[k]!) + 1e-6);
        want[k] = want[k]! * (1 - 0.005 * 0.05);
      }
    }
    expectClose('p', await program.read('p'), f32([5], want), { relToMax: 1e-6 });
  });

  it('puts parameters of one rate and decay in one group', () => {
    const rules = [{}, { lr: 16 }, { absoluteLr: 0.5 }, { weightDecay: 0 }, {}, { lr: 5, weightDecay: 0.1 }];
    const { groups, of } = groupsOf(rules, { lr: 0.1, weightDecay: 0.1, optimizer: sgd() });
    expect(of).toEqual([0, 1, 2, 3, 0, 2]);
    expect(groups.map(({ lr }) => lr)).toEqual([0.1, 1.6, 0.5, 0.1]);
    expect(groups.map(({ decay }) => decay)).toEqual([0.1, 0.1, 0.1, 0]);
  });

  it('refuse what is wrong in their configuration all at once', () => {
    const make = () => adamw({ betas: [1, 0.9], eps: -1, lr: 3 } as never);
    expect(make).toThrow(/betas.0[\s\S]*eps[\s\S]*lr/);
    expect(() => sgd({ nesterov: true })).toThrow(/momentum/);
    try {
      make();
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('CONFIG_INVALID');
    }
  });
});
