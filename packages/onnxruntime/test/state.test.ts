import { createGraph, createOps, f32 } from '@peftjs/core';
import { expect, it } from 'vitest';
import { type OnnxRuntimeOptions, onnxruntime } from '../src/index.js';

it.each<OnnxRuntimeOptions>([{}, { worker: true }, { runtime: 'web', threads: 1 }])(
  'carries an input that passes through, and one that no output reads (%o)',
  async (options) => {
    const graph = createGraph('state');
    const ops = createOps(graph);
    const x = ops.input('x', 'f32', ['n']);
    const kept = ops.input('kept', 'f32', ['n']);
    ops.input('written', 'f32', ['n']);
    ops.output(ops.add(x, kept), 'y');
    ops.output(kept);
    ops.output(ops.mul(x, 2), 'next');
    const backend = onnxruntime(options);
    const program = await backend.compile(graph, { carry: { next: 'written', kept: 'kept' } });
    await program.write('kept', f32([2], [10, 20]));
    await program.write('written', f32([2], [0, 0]));
    for (let run = 1; run <= 2; run++) {
      expect(await program.run({ x: f32([2], [run, 2]) })).toEqual({ y: f32([2], [10 + run, 22]) });
      expect(await program.read('kept')).toEqual(f32([2], [10, 20]));
      expect(await program.read('written')).toEqual(f32([2], [2 * run, 4]));
    }
    await backend.dispose();
  },
);
