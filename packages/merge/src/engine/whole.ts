import { createRandom, elementCount, PeftError } from '@peftjs/core';
import type { Merge, WholeModel } from '../define.js';
import { requireFinite } from '../inputs.js';
import type { Files } from '../platform/files.js';
import { openFiles, openOperand } from './read-operand.js';
import { openSink, requireStorable } from './target.js';
import type { Finished, Operand, Task } from './task.js';

/** All tensors at once, for a method that needs them so. The tasks share models, weights and configuration. */
export async function performWhole(merge: Merge, tasks: readonly Task[], files?: Files): Promise<Finished[]> {
  const { ids, weights, config, each, seed } = tasks[0]!;
  const open = openFiles(files);
  const load = async (id: string, operand: (task: Task) => Operand): Promise<WholeModel> => {
    const model = new Map<string, { shape: readonly number[]; data: Float32Array }>();
    for (const task of tasks) {
      const data = new Float32Array(elementCount(task.shape));
      const read = openOperand(operand(task), task.shape, open);
      (await read(0, data.length))(0, data);
      requireFinite(data, task.tensor, id, 0);
      model.set(task.tensor, { shape: task.shape, data });
    }
    return model;
  };
  const warnings: string[] = [];
  try {
    const models: WholeModel[] = [];
    for (const [i, id] of ids.entries()) models.push(await load(id, (task) => task.models[i]!));
    const base = tasks[0]!.base ? await load('the base', (task) => task.base!) : undefined;
    const rng = createRandom(seed);
    const warn = (message: string) => warnings.push(message);
    const made = merge.whole!({ ...(base && { base }), models, weights, c: config, each, rng, ids, warn });
    return tasks.map((task, i) => {
      const values = made.get(task.tensor);
      if (!values) throw new PeftError('INTERNAL', `${merge.name} made no tensor "${task.tensor}".`);
      const start = task.kind === 'difference' ? base?.get(task.tensor)?.data : undefined;
      const result = start ? values.map((x, j) => x - start[j]!) : values;
      requireStorable(result, task.target.dtype, task.tensor, 0);
      const sink = openSink(task.target, task.shape, files);
      sink.write(0, result);
      const data = sink.close();
      return { done: true, warnings: i === 0 ? warnings : [], ...(data && { data }) };
    });
  } finally {
    open.close();
  }
}
