/** The forms of a method's name: `my-method`, `myMethod`, `MyMethod`. */
export interface Names {
  readonly name: string;
  readonly constant: string;
  readonly type: string;
}

/**
 * The hand-written files of a new method: everything but its mathematics. What is missing throws, so that the tests that
 * need it fail with its place and no others do.
 */
export const methodTemplate = ({ name, constant, type }: Names): Readonly<Record<string, string>> => ({
  'src/config.ts': `import * as z from 'zod';

/** What the paper lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const ${type}Config = z.strictObject({
  r: z.number().int().positive().default(8).meta({ description: 'Rank of the update: how many directions it has.' }),
  alpha: z.number().positive().default(16).meta({ description: 'The update is scaled by alpha / r.' }),
});

export type ${type}Settings = z.output<typeof ${type}Config>;
export type ${type}Options = z.input<typeof ${type}Config>;
`,
  'src/math.ts': `import type { Ops, ShapedValue } from '@peftjs/core';

// a: r × in, b: out × r, s: the scale. Name the equation of the paper at each function.

/** ΔW: out × in. */
export function delta(_a: ShapedValue, _b: ShapedValue, _s: number, _ops: Ops): ShapedValue {
  throw new Error('${name}: ΔW is yet to be written, in src/math.ts.');
}
`,
  'src/index.ts': `import { alloc, defineMethod, definePlugin, loraFileNames, lowRankTerm, tensorRef } from '@peftjs/core';
import { ${type}Config, type ${type}Settings } from './config.js';
import { delta } from './math.js';

export { ${type}Config, type ${type}Options, type ${type}Settings } from './config.js';

const scale = (c: ${type}Settings) => c.alpha / c.r;

/** One sentence: what it does. The paper, its year. */
export const ${constant} = /* @__PURE__ */ defineMethod({
  spec: 'v1',
  name: '${name}',
  paper: 'https://arxiv.org/abs/…',
  layout: 'LORA',
  additive: true,
  kinds: ['linear'],
  config: ${type}Config,
  fileNames: loraFileNames,
  init: (target, c, rng) => ({
    train: {
      a: rng.fork('a').uniform([c.r, target.in], -1 / Math.sqrt(target.in), 1 / Math.sqrt(target.in)), // r × in
      b: alloc('f32', [target.out, c.r]), // out × r: ΔW starts at 0
    },
  }),
  delta: ({ p, c }, ops) => delta(p.a!, p.b!, scale(c), ops),
  toDelta: ({ p, c }) => ({ weight: lowRankTerm({ a: tensorRef(p.a!), b: tensorRef(p.b!) }, { scale: scale(c) }) }),
  size: (target, c) => c.r * (target.in + target.out),
});

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/${name}', methods: [${constant}] });
`,
  [`test/${name}.test.ts`]: `import { testMethod } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { ${constant} } from '../src/index.js';

describe('${name}', () => {
  testMethod(${constant});

  it('takes its defaults from the paper', () => {
    expect(${constant}().config).toMatchObject({ r: 8, alpha: 16 });
  });
});
`,
  'README.md': `# @peftjs/${name}

${type} for peftjs: one sentence that says what it changes and when to choose it.

\`\`\`sh
npm i @peftjs/${name} @peftjs/core @peftjs/models @peftjs/onnxruntime onnxruntime-node zod
\`\`\`

\`\`\`ts
import { train, writeAdapter } from '@peftjs/core';
import { causalLm, loadModel, rows } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { ${constant} } from '@peftjs/${name}';

const model = await loadModel('./base', { task: causalLm() });
const method = ${constant}({ r: 4, targetModules: ['q_proj', 'v_proj'] });
const run = train(model, { method, data: rows('train.jsonl'), backend: onnxruntime(), lr: 1e-3, steps: 10, batchSize: 4 });
for await (const event of run) if (event.type === 'step') console.log(event.step, event.loss);
await writeAdapter('./out', await run.result());
\`\`\`
`,
});
