import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGraph, createOps, f32, type Graph, type ShapedValue } from '@peftjs/core';
import { openSafetensors } from '@peftjs/core/files';
import { expect, it } from 'vitest';
import { onnxruntime } from '../src/index.js';

const width = 1024;
const layers = 48; // 201 MB of f32
const megabytes = (layers * width * width * 4) / 2 ** 20;

/** What this process takes, shared pages counted by its share of them. */
const proportionalMegabytes = () =>
  Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))![1]) / 1024;

function writeWeights(path: string): void {
  const layer = new Uint8Array(new Float32Array(width * width).fill(1 / width).buffer);
  const entries = Array.from({ length: layers }, (_, i) => {
    const data_offsets = [i * layer.length, (i + 1) * layer.length];
    return [`layers.${i}.weight`, { dtype: 'F32', shape: [width, width], data_offsets }];
  });
  const header = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const file = openSync(path, 'w');
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
  for (const bytes of [length, header]) writeSync(file, bytes);
  for (let i = 0; i < layers; i++) writeSync(file, layer);
  closeSync(file);
}

async function graphOf(path: string): Promise<Graph> {
  const graph = createGraph('layers');
  const ops = createOps(graph);
  let x: ShapedValue = ops.input('x', 'f32', ['batch', width]);
  for (const [name, ref] of (await openSafetensors(path)).tensors)
    x = ops.gemm(x, ops.weight(name, ref), undefined, { transB: true });
  ops.output(x, 'y');
  return graph;
}

it.skipIf(process.platform !== 'linux')(
  'a second session over the same weights costs under a tenth of them (needs /proc: Linux)',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'peftjs-'));
    const backend = onnxruntime({ threads: 1 });
    try {
      writeWeights(join(folder, 'model.safetensors'));
      const graph = await graphOf(join(folder, 'model.safetensors'));
      const x = f32([4, width], new Float32Array(4 * width).fill(1));
      const used: number[] = [];
      for (let session = 0; session < 2; session++) {
        const program = await backend.compile(graph);
        const { y } = await program.run({ x }); // touches every weight
        // Rows of a weight sum to 1: each layer averages, up to the rounding of 1024 additions 48 times over.
        expect(Math.abs(Number(y!.data[0]) - 1)).toBeLessThan(1e-3);
        used.push(proportionalMegabytes());
      }
      const cost = used[1]! - used[0]!;
      console.info(`PSS ${used.map((mb) => mb.toFixed(0)).join(' -> ')} MB over ${megabytes} MB of weights`);
      expect(cost).toBeLessThan(megabytes / 10);
    } finally {
      await backend.dispose();
      await rm(folder, { recursive: true, force: true });
    }
  },
);
