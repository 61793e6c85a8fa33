import {
  attachMethod,
  builtinKinds,
  elementCount,
  f32,
  kindOf,
  type Params,
  type PlannedSite,
  type Tensor,
  type Term,
  tensor,
  toF32,
} from '@peftjs/core';
import { expectClose } from '../allclose.js';
import { assert, expectPeftError } from '../law.js';
import { tensorOf } from '../numbers.js';
import { logitsOf } from './merge.js';
import { addsExactly, evaluate, firstScalars, methodFeeds, type Scene, tensorsOf } from './scene.js';

type Check = (scene: Scene) => Promise<void>;

const rows = 5;

/** What enters a target: ids of an embedding, else numbers. */
const entering = ({ target }: PlannedSite): Tensor =>
  target.kind === 'embedding'
    ? tensorOf('i64', [rows], { below: target.in }, target.path)
    : tensorOf('f32', [rows, target.in], 'away', target.path);

/** ΔW of a site, [out, in]. */
async function deltaOf(scene: Scene, site: PlannedSite, p: Params<Tensor>): Promise<Tensor> {
  const { target, c } = site;
  const scalars = firstScalars(scene);
  const { w } = await evaluate(await scene.backend(), { ...p, ...scalars }, (inputs, ops) => ({
    w: scene.method.delta!({ p: inputs, target, c, s: inputs }, ops),
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
    const { model, options, plan, start } = scene;
    if (options.startsChanged) return;
    const attached = attachMethod(model.graph('predict'), plan, start, { training: false }).model;
    const got = await logitsOf(scene, attached, methodFeeds(plan, start));
    // 1e-6: an orthogonal start cancels by rounding only.
    expectClose('logits at the start', got, await logitsOf(scene, model.graph('predict')), { absolute: 1e-6 });
  },

  async 'delta has the shape (out, in), and apply is x ΔWᵀ'(scene) {
    const { method, plan, random, tolerance } = scene;
    if (!method.delta || method.stream) return; // `attached, beside the base and merged` compares what it has instead
    const scalars = firstScalars(scene);
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
      const feeds = { ...p, ...scalars, x, w };
      const { fast, slow } = await evaluate(await scene.backend(), feeds, ({ x: rowsIn, w: matrix, ...rest }, ops) => ({
        fast: method.apply!(
          { x: rowsIn!, y: rowsIn!, p: rest, s: rest, target, c, parameters: {}, dropped: false },
          ops,
        ),
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
    if (!scene.method.delta || scene.method.stream || !addsExactly(scene)) return;
    for (const site of scene.plan.sites) {
      const p = tensorsOf(site, scene.random);
      const { weight } = await savedTerms(scene, site, p);
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

/** What the method saves of a target, by parameter name. */
async function savedTerms(
  { method, model }: Scene,
  { target, c }: PlannedSite,
  p: Params<Tensor>,
): Promise<Params<Term>> {
  const weight = async (name: string) => toF32(await model.parameters.get(`${target.path}.${name}`)!.read());
  const terms = Object.entries(await method.toDelta({ p, target, c, weight }));
  return Object.fromEntries(terms.map(([name, term]) => [name, Array.isArray(term) ? term[0]! : (term as Term)]));
}

/** What the method adds to the bias of a target: [out]. */
async function biasOf(scene: Scene, site: PlannedSite, p: Params<Tensor>): Promise<Float32Array> {
  const { target } = site;
  const { bias } = await savedTerms(scene, site, p);
  if (!bias) return new Float32Array(target.out);
  const dense = await kindOf(bias, builtinKinds).dense(bias, [target.out]);
  return tensor('f32', [target.out], dense.data).data as Float32Array;
}
