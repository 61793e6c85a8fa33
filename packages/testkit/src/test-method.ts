import type { Backend, MethodFunction } from '@peftjs/core';
import type * as z from 'zod';
import type { Law } from './law.js';
import { fileLaws } from './method-laws/files.js';
import { fixtureLaws } from './method-laws/fixture.js';
import { formulaLaws } from './method-laws/formulas.js';
import { gradientLaws } from './method-laws/gradients.js';
import { mergeLaws } from './method-laws/merge.js';
import { refusalLaws } from './method-laws/refusals.js';
import { resumingLaws } from './method-laws/resuming.js';
import { openScene, type Scene, type TestMethodOptions } from './method-laws/scene.js';
import { trainingLaws } from './method-laws/training.js';
import { referenceBackend } from './reference/backend.js';
import { registerLaws } from './register.js';

export type { TestMethodOptions } from './method-laws/scene.js';

/** What every training method must do, on a model small enough to compute everything twice. */
export function methodLaws<Schema extends z.ZodType>(
  method: MethodFunction<Schema>,
  options: TestMethodOptions = {},
): Law[] {
  let made: Promise<Backend> | undefined;
  const backend = () => {
    made ??= Promise.resolve(options.backend?.() ?? referenceBackend());
    return made;
  };
  let opened: Promise<Scene> | undefined;
  const scene = () => {
    opened ??= openScene(method, options, backend);
    return opened;
  };
  const own = {
    ...formulaLaws,
    ...gradientLaws,
    ...mergeLaws,
    ...fileLaws,
    ...trainingLaws,
    ...resumingLaws,
    ...refusalLaws,
  };
  const all = options.fixture ? { ...own, ...fixtureLaws } : own;
  return Object.entries(all).map(([name, check]) => ({ name, check: async () => check(await scene()) }));
}

/**
 * Registers the laws of a method as tests: `testMethod(lora, { config: { r: 2 } })`. Call it once for every
 * configuration that takes another path through the method.
 */
export function testMethod<Schema extends z.ZodType>(
  method: MethodFunction<Schema>,
  options: TestMethodOptions = {},
): void {
  const { config } = options;
  registerLaws(`${method.method.name}${config ? ` ${JSON.stringify(config)}` : ''}`, methodLaws(method, options));
}
