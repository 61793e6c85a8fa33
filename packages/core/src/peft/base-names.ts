import { rename } from '../adapter/aliases.js';
import { modulePaths } from '../adapter/patterns.js';
import type { BaseFacts } from './layout.js';
import { tensorPrefix } from './names.js';

/**
 * What is known of a base, its modules called as an adapter's tensors call them: a file is checked in its own names,
 * which its rules and patterns use too.
 */
export function baseNamedAs(tensors: Iterable<string>, base: BaseFacts): BaseFacts {
  const used = new Set(modulePaths([...tensors].map((name) => name.slice(tensorPrefix.length))));
  const targets = base.targets ?? [];
  // Aliases stand in the same order at every target: the n-th is the n-th way to call all of them.
  const naming = targets.map(({ aliases = [] }) => aliases.findIndex((alias) => used.has(alias))).find((n) => n >= 0);
  if (naming === undefined) return base;
  const called = new Map(targets.map(({ path, aliases = [] }) => [path, aliases[naming] ?? path]));
  return {
    targets: targets.map((target) => ({ ...target, path: called.get(target.path)! })),
    ...(base.parameters && {
      parameters: new Map([...base.parameters].map(([path, facts]) => [rename(path, called), facts])),
    }),
  };
}
