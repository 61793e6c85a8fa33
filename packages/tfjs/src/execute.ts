import { isPeftError, machineFault, type Node, PeftError } from '@peftjs/core';
import * as tf from '@tensorflow/tfjs-core';
import { fromDevice, fromIntegers, type Held, type Integers, inJavaScript, onDevice, release } from './held.js';
import { integerOperations, shapeOperations } from './integers.js';
import type { Inputs } from './operations/operation.js';
import type { Step } from './plan.js';

/**
 * Runs the steps on the current backend, in one go. A value is let go of as soon as its last reader has run.
 * @param given everything the steps read that they do not make; stays with the caller
 * @returns what they made and keep, which belongs to the caller
 */
export function execute(steps: readonly Step[], given: ReadonlyMap<string, Held>): Map<string, Held> {
  const made = new Map<string, Held>();
  try {
    for (const step of steps) {
      const inputs = step.node.inputs.map((value) => value && (made.get(value.name) ?? given.get(value.name)));
      for (const held of run(step, inputs)) made.set(held.name, held);
      for (const name of step.last) {
        release(made.get(name));
        made.delete(name);
      }
    }
  } catch (error) {
    for (const held of made.values()) release(held);
    throw error;
  }
  return made;
}

type Given = readonly (Held | undefined)[];

function run(step: Step, inputs: Given): Held[] {
  const { node, kernel } = step;
  try {
    const integers = inIntegers(step, inputs);
    if (integers) return [fromIntegers(node.outputs[0]!.name, 'i64', integers)];
    const results = tf.tidy(() => [kernel!(view(inputs))].flat());
    return results.flatMap((tensor, i) => {
      const output = node.outputs[i];
      if (output) return [fromDevice(output.name, output.dtype, tensor)];
      tensor.dispose();
      return [];
    });
  } catch (error) {
    throw nodeError(error, node, inputs);
  }
}

/** The result where it is a matter of shapes and of integers known in JavaScript. */
function inIntegers({ node, view }: Step, inputs: Given): Integers | undefined {
  const ofShape = shapeOperations[node.op];
  if (ofShape) return ofShape(inputs[0]!, view);
  const operation = integerOperations[node.op];
  const known = (held: Held | undefined) => !held || (held.dtype === 'i64' && held.data !== undefined);
  if (!operation || view.dtype !== 'i64' || !inputs.every(known)) return undefined;
  return operation(inputs as readonly (Integers | undefined)[], view);
}

function view(inputs: Given): Inputs {
  const at = (i: number): Held => {
    const held = inputs[i];
    if (!held) throw new PeftError('GRAPH_INVALID', `input ${i} is missing`);
    return held;
  };
  return {
    count: inputs.length,
    has: (i) => inputs[i] !== undefined,
    tensor: (i) => onDevice(at(i)),
    shape: (i) => at(i).shape,
    numbers: (i) => inJavaScript(at(i)),
    known: (i) => (at(i).data ? inJavaScript(at(i)) : undefined),
  };
}

/** A fault of one node, with its name, its operation and the shapes it was given. */
function nodeError(error: unknown, { op, name }: Node, inputs: Given): PeftError {
  const text = error instanceof Error ? error.message : String(error);
  const kernel = /Kernel '(\w+)' not registered/.exec(text)?.[1];
  const own = isPeftError(error) ? error.code : kernel ? 'BACKEND_UNSUPPORTED' : undefined;
  const fault = own ? undefined : machineFault(text);
  const shapes = inputs.map((input) => (input ? `[${input.shape}]` : '-')).join(', ');
  const reason = fault ? `${fault}. ${text}` : text;
  return new PeftError(
    own ?? (fault ? 'BACKEND_UNAVAILABLE' : 'GRAPH_INVALID'),
    `${op} "${name}" of ${shapes}: ${reason}`,
    {
      cause: error,
      details: { node: name, operation: op, ...(kernel && { kernel }) },
    },
  );
}
