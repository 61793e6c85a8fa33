import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { train, writeAdapter } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { causalLm, loadModel } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { skills } from '../examples/demo/skills.js';

// Writes the small adapters of examples/fixtures, `style` and `domain`, trained on the demo's base.
// `node scripts/run.mjs scripts/make-adapters.ts`

const folder = fileURLToPath(new URL('../examples', import.meta.url));
const backend = onnxruntime();
const model = await loadModel(join(folder, 'demo', 'base'), { task: causalLm() });
for (const [i, name] of ['style', 'domain'].entries()) {
  const run = train(model, {
    method: lora({ r: 2, targetModules: ['q_proj', 'v_proj'] }),
    data: skills()[i]!.train.map((row) => ({ ...row })),
    backend,
    lr: 5e-3,
    steps: 40,
  });
  await rm(join(folder, 'fixtures', name), { recursive: true, force: true });
  await writeAdapter(join(folder, 'fixtures', name), await run.result());
}
await backend.dispose();
