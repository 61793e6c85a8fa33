import type { Tensor } from '@peftjs/core';
import { compare, type Tolerance } from '@peftjs/testkit';
import type { CaseFolder } from './case.js';

/** Compares results with a case's expected tensors, gathers every difference, and sees that nothing was left out. */
export interface Checks {
  /**
   * Compares with `expected[name]`. Tensors named in `zero_by_symmetry` are counted as seen, not compared.
   * @param like the name of a tensor whose tolerance holds, for one that the case gives none for
   */
  tensor(name: string, got: Tensor | undefined, like?: string): void;
  /** Counts expected tensors as seen that carry no meaning for the comparison. */
  leave(test: (name: string) => boolean): void;
  problem(text: string): void;
  /** @throws an error with all differences, and the expected tensors that nothing was compared with */
  done(): void;
}

/** The tolerance of the longest group that a name belongs to. */
function toleranceOf(name: string, { record }: CaseFolder): Tolerance | undefined {
  const groups = Object.entries(record.tolerance?.suggested ?? {})
    .filter(([group]) => name === group || name.startsWith(`${group}/`))
    .sort(([a], [b]) => b.length - a.length);
  return groups[0] && { relToMax: groups[0][1].rel_to_max };
}

export function createChecks(folder: CaseFolder, fixed?: Tolerance): Checks {
  const open = new Set(folder.expected.keys());
  const problems: string[] = [];
  const symmetric = folder.record.zero_by_symmetry ?? [];
  return {
    tensor(name, got, like = name) {
      const expected = folder.expected.get(name);
      open.delete(name);
      if (!expected) return problems.push(`"${name}" is not among the expected tensors`);
      if (symmetric.some((zero) => name === zero || name.endsWith(`/${zero}`))) return;
      const tolerance = fixed ?? toleranceOf(like, folder);
      if (!tolerance) return problems.push(`the case gives no tolerance for "${name}"`);
      if (!got) return problems.push(`"${name}" was not computed`);
      const found = compare(got, expected, tolerance);
      folder.compared?.(name, found);
      if (!found.close) problems.push(`${name}: ${found.message}`);
    },
    leave(test) {
      for (const name of open) if (test(name)) open.delete(name);
    },
    problem: (text) => problems.push(text),
    done() {
      for (const name of open) problems.push(`"${name}" was compared with nothing`);
      if (problems.length > 0) throw new Error(problems.join('\n'));
    },
  };
}
