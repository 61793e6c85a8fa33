import { compeft } from '@peftjs/compeft';
import {
  compress,
  type Delta,
  decompress,
  denseTerm,
  f32,
  lowRankTerm,
  type Tensor,
  type Term,
  tensorRef,
  toF32,
} from '@peftjs/core';
import { compare } from '@peftjs/testkit';
import { type CaseFolder, type CaseRecord, readTensors, type Tensors } from '../../case.js';

interface Group {
  readonly sigma_unbiased: number;
  readonly scale: number;
  readonly survivors: number;
}

interface CompeftRecord extends CaseRecord {
  readonly variant: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly parameters: {
    readonly density: number;
    readonly alpha?: number;
    readonly scope: 'global' | 'factor' | 'tensor';
    readonly theta_init?: number;
  };
  readonly values?: { readonly groups?: Readonly<Record<string, Group>>; readonly correct_alpha_mean_abs?: number };
}

const difference = (x: Tensor, start: (i: number) => number): Tensor =>
  f32(
    x.shape,
    toF32(x).data.map((value, i) => value - start(i)),
  );

/** What the numbers started from: the base, or one number everywhere. */
function startOf(base: Tensors | undefined, theta: number, name: string): (i: number) => number {
  const own = base && toF32(base.get(name)!).data;
  return own ? (i) => own[i]! : () => theta;
}

/** Pairs of A and B as low-rank terms, everything else as a difference from its start. */
function deltaOf(tensors: Tensors, base: Tensors | undefined, theta: number): Delta {
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const [name, x] of tensors) {
    const b = tensors.get(name.replace('lora_A', 'lora_B'));
    if (name.includes('lora_B')) continue;
    if (name.includes('lora_A')) {
      shape.set(name, [b!.shape[0]!, x.shape[1]!]);
      params.set(name, [lowRankTerm({ a: tensorRef(x), b: tensorRef(b!) }, { scale: 1 })]);
    } else {
      shape.set(name, x.shape);
      params.set(name, [denseTerm(tensorRef(difference(x, startOf(base, theta, name))))]);
    }
  }
  return { shape, params };
}

/** The update by the names of the input. */
async function namedTensors(delta: Delta): Promise<Map<string, Tensor>> {
  const out = new Map<string, Tensor>();
  for (const [name, [term]] of delta.params) {
    const { a, b, delta: whole } = term!.tensors;
    if (whole) out.set(name, await whole.read());
    if (a) out.set(name, await a.read());
    if (b) out.set(name.replace('lora_A', 'lora_B'), await b.read());
  }
  return out;
}

/** ComPEFT by signs and by decoded values; pruning by the same survivors; STC by its magnitude. */
export async function run({ root, path, record }: CaseFolder): Promise<void> {
  const { variant, inputs, parameters, values } = record as CompeftRecord;
  const { density, alpha = 1, scope, theta_init: theta = 0 } = parameters;
  const given = await readTensors(root, inputs.adapter ?? inputs.finetuned!);
  const base = inputs.base === undefined ? undefined : await readTensors(root, inputs.base);
  const delta = deltaOf(given, base, theta);
  const rule = variant.startsWith('official') ? ('official' as const) : ('exact' as const);
  const mean = values?.correct_alpha_mean_abs;
  const magnitude = mean === undefined ? ('deviation' as const) : ('mean' as const);
  // The code's selection is what the STC case was computed with, too.
  const bound = compeft({ density, alpha, scope, rule: mean === undefined ? rule : 'official', magnitude });
  const made = await compress(bound, delta).result();
  const got = await namedTensors((await decompress(made, { codecs: [compeft] })).delta);
  const problems: string[] = [];
  const check = (name: string, value: Tensor, expected: Tensor, relative: number) => {
    const { close, message } = compare(value, expected, { relative, absolute: 1e-12 });
    if (!close) problems.push(`${name}: ${message}`);
  };
  if (mean !== undefined) {
    const found = Math.max(...[...got.values()].flatMap(({ data }) => Array.from(data, Number)));
    check('scale', f32([], [found]), f32([], [mean]), 1e-6);
  } else {
    const pruned = values === undefined;
    const decoded = await readTensors(path, 'decoded.safetensors');
    const signs = pruned ? undefined : await readTensors(path, 'expected.safetensors');
    for (const [name, expected] of decoded) {
      const update = toF32(got.get(name)!);
      const start = startOf(base, theta, name);
      const own = toF32(given.get(name)!).data;
      const value = (x: number, i: number) => (pruned ? (x === 0 ? 0 : own[i]!) : start(i) + x);
      check(name, f32(update.shape, update.data.map(value)), expected, 1e-6);
      if (signs) check(`signs of ${name}`, f32(update.shape, update.data.map(Math.sign)), signs.get(name)!, 0);
    }
    const survivors = Object.values(values?.groups ?? {}).reduce((sum, group) => sum + group.survivors, 0);
    const counted = [...got.values()].reduce(
      (sum, { data }) => sum + Array.from(data, Number).filter(Boolean).length,
      0,
    );
    if (!pruned && counted !== survivors) problems.push(`${counted} survivors, expected ${survivors}`);
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
}
