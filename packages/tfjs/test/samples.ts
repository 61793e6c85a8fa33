import { type Attribute, type DType, onnxCode, type Tensor, tensor } from '@peftjs/core';
import { type Fill, tensorOf } from '@peftjs/testkit';

/** One node: an operation, or a variant of one, that the cases of the testkit do not have. */
export interface Sample {
  readonly op: string;
  readonly inputs: readonly (Tensor | undefined)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Element types of its outputs; default one of f32. */
  readonly outputs?: readonly DType[];
}

const int = (value: number): Attribute => ({ type: 'int', value });
const ints = (...value: number[]): Attribute => ({ type: 'ints', value });
const text = (value: string): Attribute => ({ type: 'string', value });

const i64 = (shape: readonly number[], ...values: number[]): Tensor =>
  tensor('i64', shape, BigInt64Array.from(values, BigInt));
const list = (...values: number[]) => i64([values.length], ...values);
const f = (name: string, shape: readonly number[], fill: Fill = 'away') => tensorOf('f32', shape, fill, name);
const scalar = (value: number) => tensor('f32', [], Float32Array.of(value));

const x = f('x', [3, 4]);
const y = f('y', [3, 4]);
/** Ties, and every order of the rest. */
const ranks = f('ranks', [2, 6], { values: [3, 1, 2, 3, 0, 1, 5, 5, 4] });
const halves = f('halves', [6], { values: [0.5, 1.5, -0.5, -1.5, 2.4, -2.6] });
const flags = tensor('bool', [3], Uint8Array.of(1, 0, 1));
const others = tensor('bool', [3], Uint8Array.of(1, 1, 0));
const whole = (...values: number[]) => tensor('i32', [values.length], Int32Array.from(values));
const heads = f('heads', [2, 2, 3, 8]);
const positions = i64([2, 3], 4, 0, 1, 1, 2, 3);

const reduced = ['ReduceMin', 'ReduceProd', 'ReduceSumSquare', 'ReduceL1', 'ReduceL2'];
const broadcastings = [
  [
    [2, 1, 3, 4],
    [2, 3, 4, 3],
  ],
  [
    [2, 3, 3, 4],
    [2, 1, 4, 3],
  ],
  [
    [2, 1, 3, 4],
    [4, 3],
  ],
  [
    [1, 3, 4],
    [2, 3, 4, 3],
  ],
  [[4], [4, 3]],
  [[2, 3, 4], [4]],
] as const;

/** Batches of no rows and factors of no rank. */
const nothing: readonly Sample[] = [
  { op: 'MatMul', inputs: [f('x3', [2, 3, 0]), f('b', [0, 4])] },
  { op: 'MatMul', inputs: [f('a', [2, 0, 3]), f('b', [3, 4])] },
  { op: 'Gemm', inputs: [f('a', [3, 0]), f('b', [4, 0]), f('c', [4])], attributes: { transB: int(1) } },
  { op: 'Add', inputs: [f('x', [0, 4]), f('row', [4])] },
  { op: 'Where', inputs: [tensor('bool', [0, 1], new Uint8Array()), f('x', [0, 4]), scalar(0)] },
  { op: 'Gather', inputs: [f('table', [5, 0]), i64([2, 3], 0, 1, 2, 3, 4, 0)] },
  { op: 'Gather', inputs: [x, i64([0, 2])] },
  { op: 'GatherElements', inputs: [f('x', [0, 5]), i64([0, 2])], attributes: { axis: int(1) } },
  { op: 'ScatterND', inputs: [x, i64([0, 1]), f('none', [0, 4])], attributes: { reduction: text('add') } },
  {
    op: 'ScatterND',
    inputs: [f('x', [3, 0]), i64([1, 1], 2), f('none', [1, 0])],
    attributes: { reduction: text('add') },
  },
  { op: 'ScatterElements', inputs: [x, i64([0, 4]), f('none', [0, 4])], attributes: { reduction: text('add') } },
  { op: 'Reshape', inputs: [f('x', [0, 4]), list(0, 2, 2)] },
  { op: 'Transpose', inputs: [f('x', [0, 2, 3])], attributes: { perm: ints(1, 0, 2) } },
  { op: 'Concat', inputs: [f('x', [0, 4]), x], attributes: { axis: int(0) } },
  { op: 'Slice', inputs: [x, list(1), list(1)] },
  { op: 'Expand', inputs: [f('row', [1, 4]), list(0, 4)] },
  { op: 'ReduceSum', inputs: [f('x', [0, 4]), list(0)] },
  { op: 'ReduceSum', inputs: [f('x', [0, 4]), list(1)] },
  { op: 'ReduceMean', inputs: [f('x', [0, 4]), list(1)] },
  { op: 'Softmax', inputs: [f('x', [0, 4])] },
  { op: 'LogSoftmax', inputs: [f('x', [0, 4])] },
  { op: 'LayerNormalization', inputs: [f('x', [0, 4]), f('row', [4]), f('row', [4])] },
  { op: 'Tanh', inputs: [f('x', [0, 4])] },
  { op: 'Cast', inputs: [tensor('u8', [0], new Uint8Array())], attributes: { to: int(onnxCode('f32')!) } },
];

export const samples: readonly Sample[] = [
  ...nothing,
  ...['Softplus', 'LeakyRelu', 'Gelu', 'Ceil'].map((op) => ({ op, inputs: [x] })),
  { op: 'LeakyRelu', inputs: [x], attributes: { alpha: { type: 'float', value: 0.3 } } },
  { op: 'Gelu', inputs: [x], attributes: { approximate: text('tanh') } },
  { op: 'Round', inputs: [halves] },
  { op: 'IsNaN', inputs: [f('nan', [2], { values: [Number.NaN, 1] })], outputs: ['bool'] },
  { op: 'Xor', inputs: [flags, others], outputs: ['bool'] },
  { op: 'PRelu', inputs: [x, f('slope', [4])] },
  { op: 'Sum', inputs: [x, y, f('row', [4])] },
  { op: 'Mean', inputs: [x, y, f('row', [4])] },
  { op: 'Max', inputs: [x, y, f('row', [4])] },
  { op: 'Sum', inputs: [x] },
  { op: 'Clip', inputs: [x, undefined, scalar(0.5)] },
  { op: 'Clip', inputs: [x] },
  { op: 'Mod', inputs: [whole(7, -7, 7, -7), whole(3, 3, -3, -3)], outputs: ['i32'] },
  { op: 'Mod', inputs: [whole(7, -7, 7, -7), whole(3, 3, -3, -3)], outputs: ['i32'], attributes: { fmod: int(1) } },
  { op: 'Div', inputs: [whole(7, -7, 7, -7), whole(3, 3, -3, -3)], outputs: ['i32'] },
  { op: 'Div', inputs: [list(7, -7), list(2, 2)], outputs: ['i64'] },
  { op: 'Cast', inputs: [halves], outputs: ['i32'], attributes: { to: int(onnxCode('i32')!) } },
  { op: 'Cast', inputs: [whole(3, 255, 0)], outputs: ['u8'], attributes: { to: int(onnxCode('u8')!) } },
  { op: 'Cast', inputs: [halves], outputs: ['bool'], attributes: { to: int(onnxCode('bool')!) } },
  { op: 'Flatten', inputs: [f('x3', [2, 3, 4])], attributes: { axis: int(2) } },
  { op: 'Reshape', inputs: [f('x3', [2, 3, 4]), list(0, -1)] },
  { op: 'Squeeze', inputs: [f('ones', [1, 3, 1])] },
  { op: 'Expand', inputs: [f('column', [3, 1]), list(2, 1, 4)] },
  { op: 'Tile', inputs: [x, list(2, 3)] },
  { op: 'Slice', inputs: [x, list(-1, 0), list(-100, 4), list(0, 1), list(-1, 2)] },
  { op: 'Slice', inputs: [x, list(1), list(1000)] },
  { op: 'Split', inputs: [f('x5', [5, 2])], outputs: ['f32', 'f32'], attributes: { num_outputs: int(2) } },
  { op: 'Pad', inputs: [x, list(1, 0, 0, 2), scalar(7)] },
  { op: 'Pad', inputs: [x, list(2, 1), undefined, list(-1)] },
  { op: 'Range', inputs: [scalar(1), scalar(-1), scalar(-0.5)] },
  { op: 'ConstantOfShape', inputs: [list(2, 3)] },
  {
    op: 'ConstantOfShape',
    inputs: [list(2)],
    outputs: ['i64'],
    attributes: { value: { type: 'tensor', value: list(5) } },
  },
  { op: 'Size', inputs: [x], outputs: ['i64'] },
  { op: 'Shape', inputs: [f('x3', [2, 3, 4])], outputs: ['i64'], attributes: { start: int(-2) } },
  { op: 'Gather', inputs: [x, list(-1, 0)], attributes: { axis: int(-1) } },
  { op: 'GatherElements', inputs: [x, i64([2, 4], 0, -1, 2, 1, 1, 0, -3, 2)] },
  { op: 'GatherND', inputs: [x, i64([2, 2], 0, 1, -1, 3)] },
  { op: 'GatherND', inputs: [x, i64([2, 1], 2, 0)] },
  { op: 'ScatterND', inputs: [x, i64([2, 2], 0, 1, -1, 3), f('updates', [2])] },
  { op: 'ScatterElements', inputs: [x, i64([1, 4], 0, -1, 2, 1), f('row4', [1, 4])], attributes: { axis: int(0) } },
  { op: 'OneHot', inputs: [list(1, -1, 5), list(3), f('off and on', [2])] },
  { op: 'OneHot', inputs: [i64([2, 2], 1, 0, 2, 1), list(3), f('off and on', [2])], attributes: { axis: int(0) } },
  ...reduced.flatMap((op): Sample[] => [
    { op, inputs: [x, list(-1)], attributes: { keepdims: int(0) } },
    { op, inputs: [x] },
  ]),
  { op: 'ReduceSum', inputs: [x], attributes: { noop_with_empty_axes: int(1) } },
  { op: 'ArgMin', inputs: [ranks], outputs: ['i64'], attributes: { axis: int(1) } },
  { op: 'ArgMax', inputs: [ranks], outputs: ['i64'], attributes: { axis: int(-1), select_last_index: int(1) } },
  { op: 'CumSum', inputs: [x, i64([], 0)] },
  { op: 'CumSum', inputs: [x, i64([], -1)], attributes: { exclusive: int(1), reverse: int(1) } },
  { op: 'TopK', inputs: [ranks, list(4)], outputs: ['f32', 'i64'] },
  { op: 'TopK', inputs: [ranks, list(2)], outputs: ['f32', 'i64'], attributes: { axis: int(0), largest: int(0) } },
  { op: 'Trilu', inputs: [f('square', [2, 4, 4])] },
  { op: 'Trilu', inputs: [x, i64([], -1)], attributes: { upper: int(0) } },
  ...broadcastings.map(([a, b]): Sample => ({ op: 'MatMul', inputs: [f('a', a), f('b', b)] })),
  {
    op: 'LayerNormalization',
    inputs: [f('x3', [2, 3, 4]), f('scale', [3, 4])],
    outputs: ['f32', 'f32', 'f32'],
    attributes: { axis: int(1) },
  },
  { op: 'Conv', inputs: [f('image', [2, 3, 5, 6]), f('kernel', [4, 3, 2, 3]), f('bias', [4])] },
  {
    op: 'Conv',
    inputs: [f('image', [2, 4, 5, 6]), f('kernel', [6, 2, 3, 2])],
    attributes: { group: int(2), pads: ints(1, 0, 2, 1), strides: ints(2, 1) },
  },
  {
    op: 'Conv',
    inputs: [f('signal', [2, 3, 9]), f('kernel', [4, 3, 3]), f('bias', [4])],
    attributes: { dilations: ints(2), pads: ints(2, 1) },
  },
  {
    op: 'Conv',
    inputs: [f('image', [1, 2, 9, 8]), f('kernel', [3, 2, 2, 3])],
    attributes: { dilations: ints(3, 2), strides: ints(2, 2) },
  },
  {
    op: 'ConvTranspose',
    inputs: [f('image', [2, 4, 3, 4]), f('kernel', [4, 3, 2, 3]), f('bias', [6])],
    attributes: {
      group: int(2),
      strides: ints(3, 2),
      pads: ints(1, 0, 0, 2),
      output_padding: ints(1, 0),
      dilations: ints(1, 2),
    },
  },
  { op: 'Softmax', inputs: [x], attributes: { axis: int(0) } },
  {
    op: 'RotaryEmbedding',
    inputs: [heads, f('cos', [5, 4]), f('sin', [5, 4]), positions],
    attributes: { interleaved: int(1) },
  },
  {
    op: 'RotaryEmbedding',
    inputs: [heads, f('cos', [2, 3, 2]), f('sin', [2, 3, 2])],
    attributes: { rotary_embedding_dim: int(4) },
  },
];
