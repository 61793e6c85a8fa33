import { createRiceWriter, readRice } from '@peftjs/compeft';
import { isPeftError } from '@peftjs/core';
import type { CaseFolder, CaseRecord } from '../../case.js';

interface RiceRecord extends CaseRecord {
  readonly expect: 'roundtrip' | 'refusal';
  readonly numel: number;
  readonly nnz: number;
  readonly b: number;
  readonly bits: number;
  readonly indices: readonly number[];
  readonly signs: readonly number[];
  readonly bytes_hex: string;
}

/** The stream, to the byte, both ways; a damaged one is refused with FILE_INVALID. */
export async function run({ record }: CaseFolder): Promise<void> {
  const { expect, numel, nnz, b, bits, indices, signs, bytes_hex: hex } = record as RiceRecord;
  const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
  const found: (readonly [number, number])[] = [];
  let refused: unknown;
  try {
    readRice(bytes, { numel, nnz, b }, (i, positive) => found.push([i, positive ? 1 : -1]));
  } catch (error) {
    if (!isPeftError(error) || error.code !== 'FILE_INVALID') throw error;
    refused = error;
  }
  if (expect === 'refusal') {
    if (!refused) throw new Error(`read as ${found.join(' ')}; it must be refused`);
    return;
  }
  if (refused) throw refused;
  const wanted = indices.map((i, n) => [i, signs[n]]);
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`read as ${JSON.stringify(found)}`);
  const writer = createRiceWriter(b, bits);
  for (const [n, i] of indices.entries()) writer.put(i - (indices[n - 1] ?? -1) - 1, signs[n] === 1);
  const written = Buffer.from(writer.end()).toString('hex');
  if (written !== hex) throw new Error(`written as ${written}, expected ${hex}`);
}
