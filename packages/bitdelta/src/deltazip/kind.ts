import { cast, defineKind, type Tensor, type Term, tensor, tensorRef } from '@peftjs/core';
import { extentsOf } from '../matrix.js';
import { bytesOfTerm, invalid, type Parts, partProblems, readPart, readScales, scaleOf, scaleTerm } from '../terms.js';
import { packBits, unpackBits } from './bits.js';
import type { ObsResult } from './obs.js';
import { type CodeBits, codeBits, numberOf } from './quantiser.js';
import { groupColumns, keptOfGroup } from './two-of-four.js';

/** How the numbers of a term lie; everything a reader must know beside the parameter's shape. */
export interface Form {
  /** Of a kept number: 2, 3, 4 or 8 are codes, 16 is a half float without scale. */
  readonly bits: CodeBits | 16;
  readonly structured: boolean;
  /** Columns that share a scale. */
  readonly groupSize: number;
  /** The parameter lies as (in, out). */
  readonly transposed: boolean;
}

const positionBits = 2;
const keptColumns = (columns: number, structured: boolean): number =>
  structured ? (columns / groupColumns) * keptOfGroup : columns;
const packedBytes = (count: number, width: number): number => Math.ceil((count * width) / 8);

/** Bytes of every tensor by the form, for a weight of rows × columns (out × in). */
function partsOf({ bits, structured, groupSize }: Form, rows: number, columns: number): Parts {
  const kept = keptColumns(columns, structured);
  return {
    ...(bits === 16
      ? { values: { dtype: 'f16' as const, shape: [rows, kept] } }
      : {
          values: { dtype: 'u8' as const, shape: [rows, packedBytes(kept, bits)] },
          scale: { dtype: 'f32' as const, shape: [rows, Math.ceil(columns / groupSize)] },
        }),
    ...(structured && { positions: { dtype: 'u8' as const, shape: [rows, packedBytes(kept, positionBits)] } }),
  };
}

/** The columns of a row that are kept, in their order. */
const keptOf = (pruned: Uint8Array | undefined, columns: number, o: number): number[] =>
  Array.from({ length: columns }, (_, i) => i).filter((i) => !pruned || pruned[o * columns + i] === 0);

/** What `obs` made of a weight of rows × columns, as a term: kept numbers packed row by row, and where they stand. */
export function deltazipTerm(result: ObsResult, form: Form, rows: number, columns: number): Term {
  const { bits, structured } = form;
  const parts = partsOf(form, rows, columns);
  const width = (name: string) => parts[name]?.shape[1] ?? 0;
  const values = new Uint8Array(rows * width('values'));
  const halves = new Float32Array(bits === 16 ? rows * width('values') : 0);
  const positions = new Uint8Array(rows * width('positions'));
  for (let o = 0; o < rows; o++) {
    const kept = keptOf(result.pruned, columns, o);
    const at = o * width('values');
    if (bits === 16)
      kept.forEach((i, k) => {
        halves[at + k] = result.delta[o * columns + i]!;
      });
    else
      values.set(
        packBits(
          kept.map((i) => result.codes![o * columns + i]!),
          bits,
        ),
        at,
      );
    if (structured)
      positions.set(
        packBits(
          kept.map((i) => i % groupColumns),
          positionBits,
        ),
        o * width('positions'),
      );
  }
  const shape = parts.values!.shape;
  const stored: Tensor = bits === 16 ? cast(tensor('f32', shape, halves), 'f16') : tensor('u8', shape, values);
  return {
    kind: 'deltazip',
    tensors: {
      values: tensorRef(stored),
      ...(bits !== 16 && { scale: tensorRef(tensor('f32', parts.scale!.shape, result.scale!)) }),
      ...(structured && { positions: tensorRef(tensor('u8', parts.positions!.shape, positions)) }),
    },
    meta: { scale: 1, ...form },
  };
}

const formOf = ({ meta }: Term): Form => meta as unknown as Form;

function formProblems({ meta }: Term, columns: number): string[] {
  const problems: string[] = [];
  if (![...codeBits, 16].some((bits) => bits === meta.bits)) problems.push(`its bits are ${meta.bits}`);
  if (typeof meta.structured !== 'boolean') problems.push(`its "structured" is ${meta.structured}`);
  if (!Number.isSafeInteger(meta.groupSize) || Number(meta.groupSize) < 1)
    problems.push(`its groupSize is ${meta.groupSize}`);
  if (meta.structured === true && columns % groupColumns !== 0)
    problems.push(`its ${columns} columns do not divide into groups of ${groupColumns}`);
  return problems;
}

/** Out × in of the weight behind a parameter. */
function weightExtents(term: Term, shape: readonly number[]) {
  const { rows, columns } = extentsOf(shape);
  return term.meta.transposed === true ? { rows: columns, columns: rows } : { rows, columns };
}

/** ΔW with two of four columns kept, or all, in codes of few bits with scales: what DeltaZip stores. */
export const deltazipKind = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'deltazip',

  async dense(term, shape) {
    const { rows, columns } = weightExtents(term, shape);
    const { bits, structured, groupSize, transposed } = formOf(term);
    const kept = keptColumns(columns, structured);
    const values = await readPart(term, 'values');
    const halves = bits === 16 ? (cast(values, 'f32').data as Float32Array) : undefined;
    const scale = bits === 16 ? undefined : await readScales(term, 'scale');
    const positions = structured ? ((await readPart(term, 'positions')).data as Uint8Array) : undefined;
    const s = scaleOf(term);
    const out = new Float32Array(rows * columns);
    const width = values.shape[1]!;
    for (let o = 0; o < rows; o++) {
      const at = positions && columnsOf(term, positions, o, kept);
      const codes = bits === 16 ? undefined : unpackBits((values.data as Uint8Array).subarray(o * width), bits, kept);
      for (let k = 0; k < kept; k++) {
        const i = at ? at[k]! : k;
        const group = scale && scale[o * (scale.length / rows) + Math.floor(i / groupSize)]!;
        const x = codes ? numberOf(codes[k]!, group!, bits as CodeBits) : halves![o * kept + k]!;
        out[transposed ? i * rows + o : o * columns + i] = s * x;
      }
    }
    return tensor('f32', shape, out);
  },

  scale: scaleTerm,
  bytes: bytesOfTerm,

  problems(term, shape) {
    const { rows, columns } = weightExtents(term, shape);
    const problems = formProblems(term, columns);
    return problems.length > 0 ? problems : partProblems(term, partsOf(formOf(term), rows, columns));
  },
});

/** Columns of the kept numbers of row `o`. @throws PeftError ADAPTER_INVALID when a group does not ascend */
function columnsOf(term: Term, positions: Uint8Array, o: number, kept: number): number[] {
  const width = packedBytes(kept, positionBits);
  const within = unpackBits(positions.subarray(o * width), positionBits, kept);
  return Array.from(within, (position, k) => {
    if (k % keptOfGroup !== 0 && position <= within[k - 1]!)
      throw invalid(term, `keeps columns ${within[k - 1]} and ${position} of a group of row ${o}, out of order`);
    return Math.floor(k / keptOfGroup) * groupColumns + position;
  });
}

/** @throws PeftError ADAPTER_INVALID for scales that are not finite and positions out of order */
export async function checkDeltazip(term: Term, shape: readonly number[]): Promise<void> {
  const { rows, columns } = weightExtents(term, shape);
  const { bits, structured } = formOf(term);
  if (bits !== 16) await readScales(term, 'scale');
  if (!structured) return;
  const positions = (await readPart(term, 'positions')).data as Uint8Array;
  for (let o = 0; o < rows; o++) columnsOf(term, positions, o, keptColumns(columns, structured));
}
