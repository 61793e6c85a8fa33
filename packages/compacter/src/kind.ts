import {
  defineKind,
  notAdditive,
  PeftError,
  readTensor,
  type ShapedValue,
  strayTensors,
  type TensorRef,
  type Term,
  tensorProblems,
  termBytes,
} from '@peftjs/core';
import { bottleneckOf, type Letters, letters, shapesOf } from './letters.js';
import { bottleneck, isActivation } from './math.js';

/** What leaves a module becomes h + Up(f(Down(h))), h the module's own output with its bias. */
export const compacterTerm = (
  tensors: Letters<TensorRef>,
  { activation, transposed }: { readonly activation: string; readonly transposed: boolean },
): Term => ({ kind: 'compacter', tensors, meta: { activation, transposed } });

const floats = new Set(['f64', 'f32', 'f16', 'bf16']);

/** A bottleneck behind a module, as an adapter carries it. */
export const compacterKind = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'compacter',
  ...notAdditive('compacter'),
  mergeable: false,

  async apply() {
    throw new PeftError(
      'DELTA_CONFLICT',
      'A Compacter bottleneck has an activation between its layers, so no weight holds it: run it beside the base instead of merging it.',
    );
  },

  bytes: termBytes,

  problems(term, shape) {
    const n = term.tensors.a?.shape[0] ?? 1;
    const width = shape[term.meta.transposed === true ? 1 : 0] ?? 0;
    const k = term.tensors.downB?.shape[0] ?? 0;
    const problems = strayTensors(term, letters);
    if (shape.length !== 2) problems.push(`the parameter is [${shape}], a bottleneck follows a matrix`);
    for (const [name, wanted] of Object.entries(shapesOf(n, width, k)))
      problems.push(...tensorProblems(term, name, { dtypes: (dtype) => floats.has(dtype), shape: wanted }));
    if (!isActivation(term.meta.activation)) problems.push(`its activation is ${String(term.meta.activation)}`);
    return problems;
  },

  async attach({ term, x, bias, before, tensor }, ops) {
    const values: Record<string, ShapedValue> = {};
    for (const name of letters) values[name] = tensor(name, await readTensor(term, name));
    const z = await before(x);
    const h = bias ? ops.add(z, bias) : z;
    return ops.add(z, bottleneck(h, bottleneckOf(values), String(term.meta.activation), ops));
  },
});
