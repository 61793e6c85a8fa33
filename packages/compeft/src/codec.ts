import {
  type CodecFunction,
  type Delta,
  defineCodec,
  denseTerm,
  type Measure,
  type Term,
  tensorRef,
} from '@peftjs/core';
import { compressDelta } from './compress.js';
import { CompeftConfig } from './config.js';
import { decodeDelta, encodeDelta } from './file.js';
import { readFactors, readTernary, ternary, ternaryLowRank, toLowRank } from './kinds.js';
import { survivors, type Ternary } from './words.js';

/** The ternary tensors of a term. */
async function tensorsOf(term: Term, shape: readonly number[]): Promise<Ternary[]> {
  if (term.kind === ternary.kind) return [(await readTernary(term, shape)).t];
  const { a, b } = await readFactors(term, shape);
  return [a.t, b.t];
}

async function measure(delta: Delta): Promise<Measure> {
  let [elements, kept] = [0, 0];
  for (const [path, terms] of delta.params)
    for (const term of terms)
      for (const t of await tensorsOf(term, delta.shape.get(path)!)) {
        elements += t.n;
        kept += survivors(t);
      }
  return { elements, survivors: kept };
}

async function expand(delta: Delta): Promise<Delta> {
  const params = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params) {
    const shape = delta.shape.get(path)!;
    const plain = async (term: Term): Promise<Term> =>
      term.kind === ternary.kind ? denseTerm(tensorRef(await ternary.dense(term, shape))) : toLowRank(term, shape);
    params.set(path, await Promise.all(terms.map(plain)));
  }
  return { shape: delta.shape, params };
}

/** ComPEFT (Yadav et al. 2023): an update as signs of its largest numbers and one magnitude, entropy-coded. */
export const compeft: CodecFunction<typeof CompeftConfig> = /* @__PURE__ */ defineCodec({
  spec: 'v1',
  name: 'compeft',
  paper: 'https://arxiv.org/abs/2311.13171',
  config: CompeftConfig,
  magic: 'COMPEFT1',
  kinds: [ternary, ternaryLowRank],
  replaced: 'keep',
  compress: compressDelta,
  measure,
  encode: encodeDelta,
  decode: decodeDelta,
  expand,
});
