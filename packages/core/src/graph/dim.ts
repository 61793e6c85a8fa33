import { PeftError } from '../errors.js';

/**
 * An extent: a number, or a polynomial over symbols in canonical text (`batch*length`, `2*heads+1`). Two symbolic
 * extents are equal exactly when their texts are, because every function here returns the canonical form.
 */
export type Dim = number | string;

/** Monomial (symbols sorted, joined by `*`; '' for the constant) -> coefficient. */
type Polynomial = Map<string, number>;

function parse(dim: Dim): Polynomial {
  if (typeof dim === 'number') return new Map(dim === 0 ? [] : [['', dim]]);
  const sum: Polynomial = new Map();
  for (const [, sign, body] of dim.replaceAll(' ', '').matchAll(/([+-]?)([^+-]+)/g)) {
    let coefficient = sign === '-' ? -1 : 1;
    const symbols: string[] = [];
    for (const factor of body!.split('*')) {
      if (/^\d+$/.test(factor)) coefficient *= Number(factor);
      else symbols.push(factor);
    }
    addTerm(sum, symbols.sort().join('*'), coefficient);
  }
  return sum;
}

function addTerm(sum: Polynomial, monomial: string, coefficient: number): void {
  const next = (sum.get(monomial) ?? 0) + coefficient;
  if (next === 0) sum.delete(monomial);
  else sum.set(monomial, next);
}

function print(sum: Polynomial): Dim {
  if (sum.size === 0) return 0;
  if (sum.size === 1 && sum.has('')) return sum.get('')!;
  // Symbols before the constant, each group in text order.
  const terms = [...sum].sort(([a], [b]) => Number(a === '') - Number(b === '') || (a < b ? -1 : 1));
  return terms
    .map(([monomial, c], i) => {
      const size = Math.abs(c);
      const text = monomial === '' ? String(size) : size === 1 ? monomial : `${size}*${monomial}`;
      return `${c < 0 ? '-' : i > 0 ? '+' : ''}${text}`;
    })
    .join('');
}

/** The canonical form of an extent written by hand. */
export const dim = (value: Dim): Dim => (typeof value === 'number' ? value : print(parse(value)));

export const sameDim = (a: Dim, b: Dim): boolean => a === b;

export const sameShape = (a: readonly Dim[], b: readonly Dim[]): boolean =>
  a.length === b.length && a.every((extent, i) => extent === b[i]);

export function addDim(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  const sum = parse(a);
  for (const [monomial, coefficient] of parse(b)) addTerm(sum, monomial, coefficient);
  return print(sum);
}

export function mulDim(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a * b;
  const product: Polynomial = new Map();
  for (const [ma, ca] of parse(a)) {
    for (const [mb, cb] of parse(b)) {
      const symbols = [...(ma ? ma.split('*') : []), ...(mb ? mb.split('*') : [])];
      addTerm(product, symbols.sort().join('*'), ca * cb);
    }
  }
  return print(product);
}

export const subDim = (a: Dim, b: Dim): Dim => addDim(a, mulDim(-1, b));

/** The number of elements of a shape. */
export const sizeOf = (shape: readonly Dim[]): Dim => shape.reduce(mulDim, 1 as Dim);

/** a / b where b is one monomial that divides every term of a; undefined otherwise. */
export function divDim(a: Dim, b: Dim): Dim | undefined {
  const divisor = parse(b);
  if (divisor.size !== 1) return a === b ? 1 : undefined;
  const [[symbols, by]] = [...divisor] as [[string, number]];
  const quotient: Polynomial = new Map();
  for (const [monomial, coefficient] of parse(a)) {
    const left = monomial ? monomial.split('*') : [];
    for (const symbol of symbols ? symbols.split('*') : []) {
      const at = left.indexOf(symbol);
      if (at < 0) return undefined;
      left.splice(at, 1);
    }
    if (coefficient % by !== 0) return undefined;
    addTerm(quotient, left.join('*'), coefficient / by);
  }
  return print(quotient);
}

/** The terms of an extent: coefficient and symbols of each. */
export const termsOf = (value: Dim): { coefficient: number; symbols: string[] }[] =>
  [...parse(value)].map(([monomial, coefficient]) => ({ coefficient, symbols: monomial ? monomial.split('*') : [] }));

/** The shape that two shapes broadcast to. @throws PeftError GRAPH_INVALID */
export function broadcast(a: readonly Dim[], b: readonly Dim[], where: string): Dim[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[i - rank + a.length] ?? 1;
    const y = b[i - rank + b.length] ?? 1;
    if (x === y || y === 1) return x;
    if (x === 1) return y;
    throw new PeftError('GRAPH_INVALID', `${where}: shapes [${a}] and [${b}] do not broadcast (${x} against ${y}).`);
  });
}
