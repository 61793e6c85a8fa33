import { builtinKinds, elementCount, f32, kindOf, type PlannedSite, type Tensor, tensor } from '@peftjs/core';
import { expectClose } from '../allclose.js';
import { assert, expectPeftError } from '../law.js';
import { tensorOf } from '../numbers.js';
import { evaluate, type Scene, tensorsOf } from './scene.js';

type Check = (scene: Scene) => Promise<void>;

const rows = 5;

/** What enters a target: ids of an embedding, else numbers. */
const entering = ({ target }: PlannedSite): Tensor =>
  target.kind === 'embedding'
    ? tensorOf('i64', [rows], { below: target.in }, target.path)
    : tensorOf('f32', [rows, target.in], 'away', target.path);

/** ΔW of a site, [out, in]. */
async function deltaOf({ method, backend }: Scene, site: PlannedSite, p: Record<string, Tensor>): Promise<Tensor> {
  const { target, c } = site;
  const { w } = await evaluate(await backend(), p, (inputs, ops) => ({
    w: method.delta({ p: inputs, target, c }, ops),
  }));
  return w!;
}

/** A (out, in) matrix as the target's own parameter lies: embeddings and conv1d weights are (in, out). */
function asStored({ target }: PlannedSite, w: Tensor): Tensor {
  if (target.kind === 'linear') return w;
  const data = Float32Array.from({ length: target.in * target.out }, (_, i) => {
    return Number(w.data[(i % target.out) * target.in + Math.floor(i / target.out)]);
  });
  return f32([target.in, target.out], data);
}

export const formulaLaws: Readonly<Record<string, Check>> = {
  async 'starts without changing the model'(scene) {
    if (scene.options.startsChanged) return;
    for (const site of scene.plan.sites) {
      const w = await deltaOf(scene, site, tensorsOf(site, scene.start));
      // 1e-6: an orthogonal start cancels by rounding only.
      expectClose(`ΔW of ${site.target.path} at the start`, w, f32(w.shape, new Float32Array(w.data.length)), {
        absolute: 1e-6,
      });
    }
  },

  async 'delta has the shape (out, in), and apply is x ΔWᵀ'(scene) {
    const { method, plan, random, tolerance } = scene;
    for (const site of plan.sites) {
      const { target, c } = site;
      const p = tensorsOf(site, random);
      const x = entering(site);
      const w = await deltaOf(scene, site, p);
      assert(
        `${w.shape}` === `${[target.out, target.in]}`,
        `ΔW of ${target.path} is [${w.shape}], not [${target.out},${target.in}]`,
      );
      if (!method.apply) continue;
      // A bias of the method is the part of `apply` that ΔW does not hold: the difference between rows is free of it.
      const feeds = { ...p, x, w };
      const { fast, slow } = await evaluate(await scene.backend(), feeds, ({ x: rowsIn, w: matrix, ...rest }, ops) => ({
        fast: method.apply!({ x: rowsIn!, p: rest, target, c }, ops),
        slow:
          target.kind === 'embedding'
            ? ops.transpose(ops.gather(matrix!, rowsIn!, 1), [1, 0])
            : ops.gemm(rowsIn!, matrix!, undefined, { transB: true }),
      }));
      const bias = await biasOf(scene, site, p);
      const expected = (slow!.data as Float32Array).map((v, i) => v + bias[i % target.out]!);
      expectClose(`apply at ${target.path}`, fast!, f32(slow!.shape, expected), tolerance);
    }
  },

  async 'what is saved is ΔW, in the layout of the parameter'(scene) {
    for (const site of scene.plan.sites) {
      const p = tensorsOf(site, scene.random);
      const { weight } = scene.method.toDelta({ p, target: site.target, c: site.c });
      assert(weight, `toDelta of ${site.target.path} has no term for "weight"`);
      const expected = asStored(site, await deltaOf(scene, site, p));
      const dense = await kindOf(weight, builtinKinds).dense(weight, expected.shape);
      expectClose(`saved ΔW of ${site.target.path}`, dense, expected, scene.tolerance);
    }
  },

  async 'trains as many numbers as size says'({ method, plan, start }) {
    const counted = (tensors: Iterable<Tensor>) => [...tensors].reduce((n, { shape }) => n + elementCount(shape), 0);
    for (const { target, c } of plan.sites) {
      const own = [...start.train].filter(([name]) => name.startsWith(`${target.path}:`)).map(([, t]) => t);
      const [got, said] = [counted(own), method.size(target, c)];
      assert(got === said, `${target.path} trains ${got} numbers, size says ${said}`);
    }
    const all = counted(start.train.values());
    assert(all === plan.size, `all targets train ${all} numbers, the plan says ${plan.size}`);
  },

  async 'refuses unknown keys, all of them at once'({ bind, options }) {
    const unknown = { notAKey: 1, anotherWrongKey: true };
    await expectPeftError(() => bind({ ...options.config, ...unknown }), ['CONFIG_INVALID'], Object.keys(unknown));
  },
};

/** What the method adds to the bias of a target: [out]. */
async function biasOf({ method }: Scene, { target, c }: PlannedSite, p: Record<string, Tensor>): Promise<Float32Array> {
  const { bias } = method.toDelta({ p, target, c });
  if (!bias) return new Float32Array(target.out);
  const dense = await kindOf(bias, builtinKinds).dense(bias, [target.out]);
  return tensor('f32', [target.out], dense.data).data as Float32Array;
}
