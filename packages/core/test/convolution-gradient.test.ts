import { describe, expect, it } from 'vitest';
import { gradients } from '../src/autodiff/gradients.js';
import type { Dim } from '../src/graph/dim.js';
import { type Attribute, createGraph } from '../src/graph/graph.js';
import { createOps } from '../src/graph/ops.js';

/** Differentiates Σ Conv(x, w) of a node as a foreign model may have it. */
function differentiate(
  x: readonly Dim[],
  w: readonly number[],
  y: readonly Dim[],
  attributes: Record<string, Attribute>,
) {
  const graph = createGraph('convolution');
  const ops = createOps(graph);
  const [image, weight] = [ops.input('x', 'f32', x), ops.input('w', 'f32', w)];
  const [out] = ops.node('Conv', [image, weight], [{ dtype: 'f32', shape: y }], attributes);
  const loss = ops.sum(out!, [...y.keys()], { keepdims: false });
  return gradients(graph, loss, [weight]);
}

describe('the gradient of a convolution', () => {
  it('has the shape of the weight when a node leaves every setting out', () => {
    const [dw] = differentiate(['batch', 2, 5, 4], [3, 2, 2, 2], ['batch', 3, 4, 3], {});
    expect(dw!.shape).toEqual([3, 2, 2, 2]);
  });

  it('refuses by name what it does not cover', () => {
    const same: Attribute = { type: 'string', value: 'SAME_UPPER' };
    const padded = () => differentiate(['batch', 1, 4, 4], [1, 1, 2, 2], ['batch', 1, 4, 4], { auto_pad: same });
    expect(padded).toThrow(/"Conv_\d+".*not for auto_pad SAME_UPPER/);
    const line = () => differentiate(['batch', 1, 4], [1, 1, 2], ['batch', 1, 3], {});
    expect(line).toThrow(/over height and width, not for \[batch,1,4\]/);
    const free = () => differentiate(['batch', 1, 'height', 4], [1, 1, 2, 2], ['batch', 1, 'height', 3], {});
    expect(free).toThrow(/numbers, not for \[batch,1,height,4\]/);
    expect(free).toThrow(expect.objectContaining({ code: 'GRADIENT_UNDEFINED' }));
  });
});
