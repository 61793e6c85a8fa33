import { type Program, type Tensor, tensor } from '@peftjs/core';
import { type Base, feedsOf, masked, only, openBase } from '../base.js';
import type { CaseFolder, RunContext, Tensors } from '../case.js';
import { createChecks } from '../checks.js';

const variantsOf = (inputs: Tensors): string[] => [...new Set([...inputs.keys()].map((name) => name.split('/')[0]!))];

const inputsOf = (inputs: Tensors, variant: string): Map<string, Tensor> =>
  new Map(
    [...inputs].flatMap(([name, t]) =>
      name.startsWith(`${variant}/`) ? [[name.slice(variant.length + 1), t] as const] : [],
    ),
  );

/** Largest and second-largest of the last row of each sequence. */
function best(logits: Float32Array, width: number): { token: number; margin: number }[] {
  return Array.from({ length: logits.length / width }, (_, row) => {
    const values = Array.from(logits.subarray(row * width, (row + 1) * width), (value, token) => ({ value, token }));
    const [one, two] = values.sort((a, b) => b.value - a.value) as [(typeof values)[0], (typeof values)[0]];
    return { token: one.token, margin: one.value - two.value };
  });
}

/** Extends every sequence `steps` times by its likeliest token; the whole text is run again each time. */
async function greedy(base: Base, program: Program, inputs: readonly { name: string }[], ids: Tensor, steps: number) {
  const [batch, start] = ids.shape as [number, number];
  const texts = Array.from({ length: batch }, (_, b) =>
    Array.from(ids.data as BigInt64Array).slice(b * start, (b + 1) * start),
  );
  const margins: number[][] = texts.map(() => []);
  for (let step = 0; step < steps; step++) {
    const length = start + step;
    const text = tensor('i64', [batch, length], BigInt64Array.from(texts.flat()));
    const read = tensor(
      'i64',
      [batch, 1],
      BigInt64Array.from(texts, (_, b) => BigInt((b + 1) * length - 1)),
    );
    const feeds = { ...feedsOf(base, new Map([['input_ids', text]])), read };
    const { logits } = await program.run(only(feeds, inputs));
    best(logits!.data as Float32Array, logits!.shape[1]!).forEach(({ token, margin }, b) => {
      texts[b]!.push(BigInt(token));
      margins[b]!.push(margin);
    });
  }
  return {
    tokens: tensor('i64', [batch, steps], BigInt64Array.from(texts.flatMap((text) => text.slice(start)))),
    margin: tensor('f32', [batch, steps], Float32Array.from(margins.flat())),
  };
}

/** Plain inference: logits, hidden states, loss, padding on either side, and a greedy continuation. */
export async function run(folder: CaseFolder, { backend }: RunContext): Promise<void> {
  const base = await openBase(folder);
  const checks = createChecks(folder);
  const forms = {
    all: base.model.graph('predict', { read: false, hiddenStates: true }).graph,
    predict: base.model.graph('predict').graph,
    train: base.model.graph('train').graph,
  };
  const programs = {
    all: await backend.compile(forms.all),
    predict: await backend.compile(forms.predict),
    train: await backend.compile(forms.train, { outputs: ['loss'] }),
  };
  for (const variant of variantsOf(folder.inputs)) {
    const inputs = inputsOf(folder.inputs, variant);
    const feeds = feedsOf(base, inputs);
    if (variant === 'greedy') {
      const tokens = folder.expected.get('greedy/tokens')!;
      const found = await greedy(
        base,
        programs.predict,
        forms.predict.inputs,
        inputs.get('input_ids')!,
        tokens.shape[1]!,
      );
      checks.tensor('greedy/tokens', found.tokens);
      checks.tensor('greedy/margin', found.margin);
      continue;
    }
    const mask = inputs.get('attention_mask');
    const check = (name: string, got: Tensor | undefined) => {
      const expected = folder.expected.get(name);
      if (expected) checks.tensor(name, masked(got, expected, mask));
    };
    check(`logits/${variant}`, (await programs.predict.run(only(feeds, forms.predict.inputs))).logits);
    const outputs = await programs.all.run(only(feeds, forms.all.inputs));
    for (const [name, value] of Object.entries(outputs)) {
      const layer = /^hidden_states\.(\d+)$/.exec(name)?.[1];
      if (layer !== undefined) check(`hidden/${variant}/${layer}`, value);
    }
    if (feeds.labels) check(`loss/${variant}`, (await programs.train.run(only(feeds, forms.train.inputs))).loss);
  }
  for (const program of Object.values(programs)) await program.dispose();
  checks.done();
}
