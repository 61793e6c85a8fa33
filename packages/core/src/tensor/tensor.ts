/** Element types by the names used throughout; the safetensors and ONNX names are mapped where those files are read. */
export type DType =
  | 'f64'
  | 'f32'
  | 'f16'
  | 'bf16'
  | 'f8_e4m3'
  | 'f8_e5m2'
  | 'f8_e8m0'
  | 'f8_e4m3fnuz'
  | 'f8_e5m2fnuz'
  | 'f6_e2m3'
  | 'f6_e3m2'
  | 'f4'
  | 'i64'
  | 'i32'
  | 'i16'
  | 'i8'
  | 'i4'
  | 'u64'
  | 'u32'
  | 'u16'
  | 'u8'
  | 'u4'
  | 'bool'
  | 'c64';

export type TypedArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | BigUint64Array
  | Uint32Array
  | Uint16Array
  | Uint8Array;

/**
 * Numbers in memory, row-major. `data` holds the stored form: f16 and bf16 as Uint16Array bit patterns, i4 and u4 two
 * to a byte (low half first), 8-, 6- and 4-bit floats and bool as bytes, c64 as interleaved Float32Array pairs.
 */
export interface Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

/** Numbers not yet read: where they are and what they will be. */
export interface TensorRef {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The bytes as they lie in a file, for runtimes that map files into memory. Absent when there is no such file. */
  readonly file?: { readonly path: string; readonly offset: number; readonly bytes: number };
  /** Rows `from` (inclusive) to `to` (exclusive) of the first axis; everything when neither is given. */
  read(options?: { from?: number; to?: number; signal?: AbortSignal }): Promise<Tensor>;
}
