import { type Dim, dim } from '../dim.js';

const polynomial = /^-?[\w.]+([+*-][\w.]+)*$/;
const symbol = /^[A-Za-z_.][\w.]*$|^\d+$/;

/**
 * The extent that a `dim_param` names. A polynomial over symbols is read as one; any other text (`floor(n/2)`) becomes
 * one symbol of its own.
 */
export function readDim(text: string): Dim {
  const compact = text.replaceAll(' ', '');
  if (polynomial.test(compact) && compact.split(/[+*-]/).every((part) => part === '' || symbol.test(part)))
    return dim(compact);
  return `_${text.replace(/[^\w.]/gu, (c) => `_${c.codePointAt(0)!.toString(16)}_`)}`;
}

/** A symbol for an extent that nothing names; never equal to another. */
export const unknownDim = (valueName: string, axis: number): Dim => readDim(`?${valueName}?${axis}`);
