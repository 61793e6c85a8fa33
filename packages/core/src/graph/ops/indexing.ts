import { PeftError } from '../../errors.js';
import type { ShapedValue } from '../graph.js';
import { axisOf, type Builder, int, text } from './builder.js';

export function indexing(b: Builder) {
  return {
    /** Slices of x along `axis` at `indices`: x.shape with that axis replaced by the shape of the indices. */
    gather(x: ShapedValue, indices: ShapedValue, axis = 0): ShapedValue {
      const at = axisOf(axis, x.shape.length, 'Gather');
      const shape = [...x.shape.slice(0, at), ...indices.shape, ...x.shape.slice(at + 1)];
      return b.emit('Gather', [x, indices], x.dtype, shape, { axis: int(at) });
    },
    /** One element for each index, at the index's own place in the other axes. */
    gatherElements(x: ShapedValue, indices: ShapedValue, axis: number): ShapedValue {
      const at = axisOf(axis, x.shape.length, 'GatherElements');
      return b.emit('GatherElements', [x, indices], x.dtype, indices.shape, { axis: int(at) });
    },
    /** x [n, ...] with updates [k, ...] added at the rows that indices i64 [k] name; equal rows add up. */
    scatterAdd(x: ShapedValue, indices: ShapedValue, updates: ShapedValue): ShapedValue {
      if (indices.shape.length !== 1 || updates.shape[0] !== indices.shape[0])
        throw new PeftError('GRAPH_INVALID', `ScatterND: indices [${indices.shape}], updates [${updates.shape}].`);
      const column = b.emit('Unsqueeze', [indices, b.i64([1])], 'i64', [...indices.shape, 1]);
      return b.emit('ScatterND', [x, column, updates], x.dtype, x.shape, { reduction: text('add') });
    },
    /** x with updates added at the elements that indices name along `axis`. */
    scatterElementsAdd(x: ShapedValue, indices: ShapedValue, updates: ShapedValue, axis: number): ShapedValue {
      const at = axisOf(axis, x.shape.length, 'ScatterElements');
      const attributes = { axis: int(at), reduction: text('add') };
      return b.emit('ScatterElements', [x, indices, updates], x.dtype, x.shape, attributes);
    },
  };
}
