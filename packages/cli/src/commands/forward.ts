import { PeftError } from '@peftjs/core';
import { openWeights, writeSafetensors } from '@peftjs/core/files';
import { tensorRef } from '@peftjs/core/tensor';
import * as z from 'zod';
import { readAdapters } from '../adapters.js';
import { openBackend } from '../backend.js';
import { defineCommand } from '../command.js';
import { adapters, common, model } from '../common.js';
import { flag } from '../fields.js';
import { loadPlugins } from '../plugins.js';
import { adapterGradients, lossOf, outputsOf, type RawRun } from '../raw-run.js';
import { openFor } from '../tasks.js';

const options = z.object({
  model,
  adapter: adapters,
  inputs: z
    .string()
    .meta({ flags: '--inputs <file>', description: 'input_ids, attention_mask, labels, ... as .safetensors' }),
  output: z.string().meta({ flags: '--output <file>', description: 'where logits or last_hidden_state are written' }),
  loss: flag().meta({ flags: '--loss', description: 'also the loss; needs labels' }),
  grads: flag().meta({ flags: '--grads', description: "also the gradients of the adapter's tensors, as grad/<key>" }),
  ...common,
});

export const forward = defineCommand({
  name: 'forward',
  summary: 'raw outputs, loss and gradients: for comparing with other implementations',
  options,
  async run(o, { output, signal }) {
    const began = performance.now();
    const plugins = await loadPlugins(o.plugin);
    const adapter = await readAdapters(o.adapter, { plugins, base: o.model, signal, warn: output.talk });
    if (o.grads && o.adapter.length !== 1)
      throw new PeftError('CONFIG_INVALID', '--grads needs exactly one --adapter.');
    const base = await openFor(o.model, adapter);
    const { tensors } = await openWeights(o.inputs);
    const inputs = new Map(
      await Promise.all([...tensors].map(async ([name, ref]) => [name, await ref.read()] as const)),
    );
    const backend = await openBackend(o, true);
    try {
      const run: RawRun = { model: base, backend, plugins, inputs, signal, ...(adapter ? { adapter } : {}) };
      const results = new Map(await outputsOf(run));
      if (o.loss) results.set('loss', await lossOf(run));
      if (o.grads) for (const [key, tensor] of await adapterGradients(run)) results.set(`grad/${key}`, tensor);
      await writeSafetensors(o.output, new Map([...results].map(([name, tensor]) => [name, tensorRef(tensor)])));
      for (const [name, { shape }] of results) output.data(`${name}\t[${shape}]`);
      return { tensors: results.size, output: o.output, seconds: (performance.now() - began) / 1000 };
    } finally {
      await backend.dispose();
    }
  },
});
