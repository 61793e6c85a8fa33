import * as z from 'zod';
import {
  type Batch,
  createGraph,
  createOps,
  createRandom,
  defineMethod,
  type Example,
  lowRankTerm,
  PeftError,
  type Site,
  type Target,
  type Task,
  type TaskModel,
  type Tensor,
  tensorRef,
} from '../../src/index.js';

/** Low-rank adaptation as the papers have it: ΔW = (α/r) B A, B = 0 at the start. */
export const tinyLora = defineMethod({
  spec: 'v1',
  name: 'tiny-lora',
  paper: 'https://arxiv.org/abs/2106.09685',
  layout: 'LORA',
  additive: true,
  kinds: ['linear'],
  config: z.strictObject({
    r: z.number().int().positive().default(2),
    alpha: z.number().default(4),
    ratio: z.number().default(1),
    /** Changes B's gradient by a frozen matrix. */
    corrected: z.boolean().default(false),
  }),
  init: (target, c, rng) => ({
    train: {
      a: rng.fork('a').normal([c.r, target.in], 0, 0.3),
      b: { dtype: 'f32', shape: [target.out, c.r], data: new Float32Array(target.out * c.r) },
    },
    ...(c.corrected && { frozen: { k: rng.fork('k').normal([c.r, c.r]) } }),
  }),
  delta: ({ p, c }, ops) => ops.mul(ops.matmul(p.b!, p.a!), c.alpha / c.r),
  apply: ({ x, p, c }, ops) =>
    ops.gemm(ops.gemm(x, p.a!, undefined, { transB: true }), p.b!, undefined, { transB: true, alpha: c.alpha / c.r }),
  toDelta: ({ p, c }) => ({
    weight: lowRankTerm({ a: tensorRef(p.a!), b: tensorRef(p.b!) }, { scale: c.alpha / c.r }),
  }),
  async fromDelta({ terms }) {
    const { tensors } = terms.weight!;
    return { a: await tensors.a!.read(), b: await tensors.b!.read() };
  },
  size: (target, c) => c.r * (target.in + target.out),
  precondition: ({ name, g, p }, ops) => (name === 'b' && p.k ? ops.matmul(g, p.k) : g),
  rule: ({ name }, c) => (name === 'b' ? { lr: c.ratio } : {}),
});

const vocabulary = 12;
const width = 6;
const classes = 3;

interface Words extends Example {
  readonly ids: readonly number[];
  readonly label: number;
}

const i64 = (shape: readonly number[], values: readonly number[]): Tensor => ({
  dtype: 'i64',
  shape,
  data: BigInt64Array.from(values, BigInt),
});

/** Class of a text of numbers: the mean of its embedded words through two linear layers. Padding is word 0. */
const wordsTask: Task<Words> = {
  name: 'words',
  labels: ['x', 'y', 'z'],
  modulesToSave: ['classifier'],
  monitor: { metric: 'loss', better: 'lower' },
  encode(row, index) {
    const label = Number(row.label);
    if (!(label < classes)) throw new PeftError('DATA_INVALID', `Row ${index} has the label "${row.label}".`);
    const ids = row.text!.split(' ').map(Number);
    return { ids, label, length: ids.length };
  },
  batch(examples, indices): Batch {
    const length = Math.max(...examples.map(({ ids }) => ids.length));
    const cells = examples.flatMap(({ ids }, row) =>
      Array.from({ length }, (_, token) => ({ id: ids[token] ?? 0, there: token < ids.length, row, token })),
    );
    return {
      feeds: {
        input_ids: i64(
          [examples.length, length],
          cells.map(({ id }) => id),
        ),
        share: {
          dtype: 'f32',
          shape: [examples.length, length],
          data: Float32Array.from(cells, ({ there, row }) => (there ? 1 / examples[row]!.ids.length : 0)),
        },
        labels: i64(
          [examples.length, 1],
          examples.map(({ label }) => label),
        ),
      },
      labels: examples.length,
      tokens: cells.filter(({ there }) => there).length,
      rows: {
        'batch*length': {
          sample: Int32Array.from(cells, ({ there, row }) => (there ? indices[row]! : -1)),
          token: Int32Array.from(cells, ({ there, token }) => (there ? token : -1)),
        },
      },
    };
  },
  metrics() {
    let [rows, loss, hits] = [0, 0, 0];
    return {
      add({ logits }, { feeds }) {
        const labels = feeds.labels!.data;
        for (let row = 0; row < labels.length; row++) {
          const scores = Array.from(logits!.data.subarray(row * classes, (row + 1) * classes), Number);
          const label = Number(labels[row]);
          rows++;
          loss += Math.log(scores.reduce((sum, s) => sum + Math.exp(s), 0)) - scores[label]!;
          if (scores.indexOf(Math.max(...scores)) === label) hits++;
        }
      },
      result: () => ({ loss: loss / rows, accuracy: hits / rows }),
    };
  },
};

/** A model of a few hundred numbers with everything training meets: frozen layers, targets, a new head, padding. */
export function tinyModel(seed = 1): TaskModel<Words> {
  const random = createRandom(seed);
  const shapes = {
    'embed.weight': [vocabulary, width],
    'body.up.weight': [8, width],
    'body.up.bias': [8],
    'classifier.weight': [classes, 8],
    'classifier.bias': [classes],
  };
  const parameters = new Map(
    Object.entries(shapes).map(([path, shape]) => [path, tensorRef(random.fork(path).normal(shape, 0, 0.5))]),
  );
  const weight = (path: string) => parameters.get(path)!;
  const up: Target = {
    kind: 'linear',
    path: 'body.up',
    in: width,
    out: 8,
    parameters: { weight: weight('body.up.weight') },
  };
  return {
    name: 'tiny',
    digest: async () => `tiny-${seed}`,
    targets: [up],
    parameters,
    task: wordsTask,
    graph(form) {
      const graph = createGraph(form);
      const ops = createOps(graph);
      const frozen = (path: string) => ops.weight(path, weight(path));
      const ids = ops.input('input_ids', 'i64', ['batch', 'length']);
      const share = ops.input('share', 'f32', ['batch', 'length']);
      const x = ops.gather(frozen('embed.weight'), ops.reshape(ids, ['batch*length']));
      const y = ops.gemm(x, frozen('body.up.weight'), frozen('body.up.bias'), { transB: true });
      const words = ops.mul(ops.tanh(ops.reshape(y, ['batch', 'length', 8])), ops.unsqueeze(share, [2]));
      const text = ops.sum(words, [1], { keepdims: false });
      const scores = ops.gemm(text, frozen('classifier.weight'), frozen('classifier.bias'), { transB: true });
      const logits = ops.output(scores, 'logits');
      const sites = new Map<string, Site>([[up.path, { target: up, x, y }]]);
      if (form !== 'train') return { graph, sites, outputs: { logits } };
      const labels = ops.reshape(ops.input('labels', 'i64', ['batch', 1]), ['batch']);
      const loss = ops.crossEntropy(scores, labels, ops.input('loss_weight', 'f32', []));
      return { graph, sites, outputs: { logits }, loss: ops.output(loss, 'loss') };
    },
  };
}

/** Texts whose class is the remainder of their first word, with fillers behind. */
export function tinyRows(count: number, seed = 7): Record<string, string>[] {
  const words = createRandom(seed).bits(count * 6);
  return Array.from({ length: count }, (_, row) => {
    const length = 1 + (words[row * 6]! % 5);
    const ids = Array.from({ length }, (_, i) => 1 + (words[row * 6 + 1 + i]! % (vocabulary - 1)));
    return { text: ids.join(' '), label: String(ids[0]! % classes) };
  });
}
