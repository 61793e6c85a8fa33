import { appendUpdate, createGraph, createOps, groupsOf, type Optimizer, scalarFeeds, type Tensor } from '@peftjs/core';
import type { CaseFolder, CaseRecord, RunContext, Tensors } from '../case.js';
import { createChecks } from '../checks.js';
import { optimizerOf, type TorchOptimizer } from '../optimizers.js';

interface OptimizerRecord extends CaseRecord {
  readonly optimizers: Readonly<Record<string, TorchOptimizer>>;
}

interface Update {
  readonly optimizer: Optimizer;
  readonly lr: number;
  readonly decay: number;
  readonly maxGradNorm?: number;
}

/** One program that updates all parameters from gradients that are fed. */
async function compileUpdate({ backend }: RunContext, start: Tensors, { optimizer, lr, decay, maxGradNorm }: Update) {
  const graph = createGraph('update');
  const ops = createOps(graph);
  const { groups } = groupsOf([{}], { lr, weightDecay: decay, optimizer });
  const gradients = [...start].map(([name, { shape }]) => ({
    trainable: { name, value: ops.input(name, 'f32', shape), shape, rule: {} },
    g: ops.input(`grad ${name}`, 'f32', shape),
    group: 0,
  }));
  const { carry, state } = appendUpdate(gradients, { groups, ...(maxGradNorm && { maxGradNorm }) }, ops);
  const program = await backend.compile(graph, { carry });
  for (const [name, tensor] of [...start, ...state]) await program.write(name, tensor);
  const update = (gradient: (name: string) => Tensor, step: number) =>
    program.run({
      ...Object.fromEntries([...start.keys()].map((name) => [`grad ${name}`, gradient(name)])),
      ...scalarFeeds(groups, { step, factor: 1 }),
    });
  return { program, update };
}

/** Every optimizer over given gradients, and global-norm clipping (seen through one step of descent at rate 1). */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const { inputs, expected } = folder;
  const under = (prefix: string) =>
    new Map([...inputs].flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [])));
  const start = under('start/');
  const gradient = (step: number) => (name: string) => inputs.get(`grad/${step}/${name}`)!;
  const checks = createChecks(folder);

  for (const [name, given] of Object.entries((folder.record as OptimizerRecord).optimizers)) {
    const optimizer = optimizerOf(given);
    const { lr, weight_decay: decay = 0 } = given;
    const { program, update } = await compileUpdate(context, start, { optimizer, lr, decay });
    for (let step = 1; step <= 6; step++) {
      await update(gradient(step - 1), step);
      for (const parameter of start.keys()) {
        const key = `${name}/after_${step}/${parameter}`;
        if (expected.has(key)) checks.tensor(key, await program.read(parameter));
      }
    }
    await program.dispose();
  }

  const clips = new Set([...expected.keys()].flatMap((name) => /^clip_[^/]+/.exec(name) ?? []));
  for (const clip of clips) {
    const optimizer = optimizerOf({ class: 'SGD', lr: 1 });
    const zeros = new Map([...start].map(([name, t]) => [name, { ...t, data: new Float32Array(t.data.length) }]));
    const maxGradNorm = Number(clip.slice('clip_'.length));
    const { program, update } = await compileUpdate(context, zeros, { optimizer, lr: 1, decay: 0, maxGradNorm });
    const { grad_norm: norm } = await update(gradient(0), 1);
    checks.tensor(`${clip}/norm`, norm && { ...norm, shape: [1] });
    for (const name of start.keys()) {
      const stepped = await program.read(name);
      checks.tensor(`${clip}/${name}`, { ...stepped, data: (stepped.data as Float32Array).map((v) => -v) });
    }
    await program.dispose();
  }
  checks.done();
}
