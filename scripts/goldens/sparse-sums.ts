import {
  type Adapter,
  contentDigest,
  indexRef,
  type NamedTensors,
  sparse,
  sparseTerm,
  sum,
  tensorRef,
} from '@peftjs/core';
import { type Base, feedsOf, openBase } from './base.js';
import type { CaseFolder, RunContext } from './case.js';
import { createChecks } from './checks.js';
import { checkLogits, checkMerged, checkSparse, within } from './sparse.js';

/** The differences that a case gives as an adapter. */
async function given({ model: { parameters } }: Base, tensors: NamedTensors) {
  const delta: Adapter['delta'] = {
    shape: new Map([...parameters].map(([path, { shape }]) => [path, shape])),
    params: new Map(
      [...parameters].flatMap(([path, { shape }]) => {
        const values = tensors.get(`${path}.values`);
        if (!values || values.data.length === 0) return [];
        const indices = tensors.get(`${path}.indices`)!.data as Int32Array;
        const size = shape.reduce((product, extent) => product * extent, 1);
        return [[path, [sparseTerm({ indices: indexRef(indices, size), values: tensorRef(values) })]]];
      }),
    ),
  };
  const replaced = new Map();
  return { delta, replaced, digest: await contentDigest({ delta, replaced }) } satisfies Adapter;
}

/** Two differences, alone and added. */
export async function composes(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const feeds = feedsOf(base, folder.inputs);
  const scene = { base, feeds, mask: folder.inputs.get('attention_mask'), backend };
  const a = await given(base, within(folder.inputs, 'a/'));
  const b = await given(base, within(folder.inputs, 'b/'));
  const both = sum(a, b);
  const combinations = { base: [], a: [a], b: [b], a_plus_b: [both] };
  for (const [name, adapters] of Object.entries(combinations))
    await checkLogits(folder, checks, `logits/${name}`, { ...scene, adapters });
  await checkMerged(folder, checks, base, [both]);
  checks.leave((name) => name.startsWith('a_plus_b/'));
  checks.done();
  await checkSums(folder, both);
}

/** The sum of the terms as one term of each parameter. */
async function checkSums(folder: CaseFolder, { delta }: Adapter): Promise<void> {
  const checks = createChecks(folder, { relToMax: 1e-7 }); // one addition, rounded once here and there
  checks.leave((name) => !name.startsWith('a_plus_b/'));
  const params = new Map();
  for (const [path, terms] of delta.params) params.set(path, [await sparse.add!(terms, delta.shape.get(path)!)]);
  const summed: Adapter = { delta: { ...delta, params }, replaced: new Map(), digest: '' };
  await checkSparse(folder, checks, 'a_plus_b/', summed);
  checks.done();
}
