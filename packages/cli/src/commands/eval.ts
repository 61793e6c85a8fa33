import { evaluate, type Row } from '@peftjs/core';
import * as z from 'zod';
import { readAdapters } from '../adapters.js';
import { openBackend } from '../backend.js';
import { defineCommand } from '../command.js';
import { adapters, common, model } from '../common.js';
import { integer, pairs } from '../fields.js';
import { snakeCase } from '../names.js';
import { loadPlugins } from '../plugins.js';
import { labelsInData, labelsOf, openModel, openRows } from '../tasks.js';

const options = z.object({
  model,
  adapter: adapters,
  task: z
    .string()
    .meta({ flags: '--task <name>', description: 'causal-lm, sequence-classification, image-classification, ...' }),
  data: z.string().meta({
    flags: '--data <file>',
    description: 'rows to measure on (.tsv, .csv, .jsonl; or a folder of images by label)',
  }),
  columns: pairs(',').meta({
    flags: '--columns <pairs>',
    description: "renames the file's columns: text=sentence,label=y",
  }),
  batchSize: integer(1).default(32).meta({ flags: '--batch-size <n>', description: 'rows of a batch' }),
  maxLength: integer(1).optional().meta({ flags: '--max-length <n>', description: 'tokens a row is cut to' }),
  ...common,
});

/** Rows as they pass, counted. */
function counted(source: AsyncIterable<Row>) {
  const counter = { rows: 0 };
  async function* pass() {
    for await (const row of source) {
      counter.rows++;
      yield row;
    }
  }
  return { counter, data: pass() };
}

export const evaluateCommand = defineCommand({
  name: 'eval',
  summary: 'measures a base, an adapter or a weighted composition of adapters',
  options,
  examples: ['peft eval --model ./base --adapter ./style ./domain:0.5 --task causal-lm --data test.csv'],
  async run(o, { output, signal }) {
    const began = performance.now();
    const plugins = await loadPlugins(o.plugin);
    const adapter = await readAdapters(o.adapter, { plugins, base: o.model, signal, warn: output.talk });
    const file = openRows(o.task, o.data, o.columns as Record<string, string>);
    const labels = labelsOf(adapter) ?? (await labelsInData(o.task, file));
    const base = await openModel(o.model, o.task, {
      maxLength: o.maxLength,
      labels,
      newHead: labelsOf(adapter) !== undefined,
    });
    const backend = await openBackend(o, true);
    try {
      const { counter, data } = counted(file);
      const found = await evaluate(base, {
        data,
        backend,
        batchSize: o.batchSize,
        signal,
        kinds: plugins.kinds,
        ...(adapter ? { adapter } : {}),
      });
      const metrics = Object.fromEntries(Object.entries(found).map(([key, value]) => [snakeCase(key), value]));
      for (const [name, value] of Object.entries(metrics)) output.data(`${name}\t${value}`);
      return { metrics, rows: counter.rows, seconds: (performance.now() - began) / 1000 };
    } finally {
      await backend.dispose();
    }
  },
});
