import { entropyBits, riceBits, riceParameter } from '@peftjs/compeft';
import type { CaseFolder, CaseRecord } from '../../case.js';

interface Row {
  readonly density: number;
  readonly entropy_bits_per_parameter: number;
  readonly b: number;
  readonly rice_bits_per_parameter: number;
}

/** Bits a parameter, by the formulas, to 1e-9 of each value. */
export async function run({ record }: CaseFolder): Promise<void> {
  const problems: string[] = [];
  const check = (what: string, got: number, expected: number) => {
    if (!(Math.abs(got - expected) <= 1e-9 * Math.abs(expected)))
      problems.push(`${what}: ${got}, expected ${expected}`);
  };
  for (const row of (record as CaseRecord & { readonly rows: readonly Row[] }).rows) {
    const { density } = row;
    check(`entropy at ${density}`, entropyBits(density), row.entropy_bits_per_parameter);
    check(`b at ${density}`, riceParameter(density), row.b);
    check(`bits at ${density}`, riceBits(density), row.rice_bits_per_parameter);
  }
  if (problems.length > 0) throw new Error(problems.join('\n'));
}
