/**
 * The kernels of src/kernels/plain.ts in AssemblyScript, on 128-bit vectors: the same bytes. Arrays go by their addresses
 * in bytes, `n` is how many numbers they have, a multiple of 64.
 */

const magnitude: i32 = 0x7fffffff;

export function widenBf16(out: usize, halves: usize, n: i32): void {
  for (const end = halves + 2 * n; halves < end; halves += 16, out += 32) {
    const x = v128.load(halves);
    v128.store(out, i32x4.shl(i32x4.extend_low_i16x8_u(x), 16));
    v128.store(out, i32x4.shl(i32x4.extend_high_i16x8_u(x), 16), 16);
  }
}

function narrowed(x: v128): v128 {
  const high = i32x4.shr_u(x, 16);
  const odd = v128.and(high, i32x4.splat(1));
  const rounded = i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
  // A NaN stays one: its sign and what fits of its payload, or a quiet one.
  const noNumber = i32x4.gt_s(v128.and(x, i32x4.splat(magnitude)), i32x4.splat(0x7f800000));
  if (!v128.any_true(noNumber)) return rounded;
  const payload = v128.and(high, i32x4.splat(0x7f));
  const quiet = v128.and(i32x4.eq(payload, i32x4.splat(0)), i32x4.splat(0x40));
  return v128.bitselect(v128.or(v128.and(high, i32x4.splat(0xffff)), quiet), rounded, noNumber);
}

export function narrowBf16(out: usize, values: usize, n: i32): void {
  for (const end = out + 2 * n; out < end; values += 32, out += 16)
    v128.store(out, i16x8.narrow_i32x4_u(narrowed(v128.load(values)), narrowed(v128.load(values, 16))));
}

export function reaches(values: usize, limit: i32, n: i32): bool {
  const last = i32x4.splat(limit - 1);
  const mask = i32x4.splat(magnitude);
  let reached = i32x4.splat(0);
  for (const end = values + 4 * n; values < end; values += 16)
    reached = v128.or(reached, i32x4.gt_s(v128.and(v128.load(values), mask), last));
  return v128.any_true(reached);
}

export function subtract(out: usize, a: usize, b: usize, n: i32): void {
  for (const end = out + 4 * n; out < end; out += 16, a += 16, b += 16)
    v128.store(out, f32x4.sub(v128.load(a), v128.load(b)));
}

export function scale(x: usize, w: f32, n: i32): void {
  const factor = f32x4.splat(w);
  for (const end = x + 4 * n; x < end; x += 16) v128.store(x, f32x4.mul(v128.load(x), factor));
}

export function addScaled(sum: usize, x: usize, w: f32, n: i32): void {
  const factor = f32x4.splat(w);
  for (const end = sum + 4 * n; sum < end; sum += 16, x += 16)
    v128.store(sum, f32x4.add(v128.load(sum), f32x4.mul(factor, v128.load(x))));
}

function lowHalf(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

function highHalf(x: v128): v128 {
  return f64x2.promote_low_f32x4(i32x4.shuffle(x, x, 2, 3, 2, 3));
}

/** @param table of each array its address (4 bytes, 4 of padding) and its weight (f64) */
export function weightedSum(out: usize, table: usize, arrays: i32, n: i32): void {
  for (let at: usize = 0; at < <usize>(4 * n); at += 16) {
    let low = f64x2.splat(0);
    let high = f64x2.splat(0);
    for (let entry = table, end = table + 16 * arrays; entry < end; entry += 16) {
      const w = v128.load64_splat(entry, 8);
      const x = v128.load(<usize>load<i32>(entry) + at);
      low = f64x2.add(low, f64x2.mul(w, lowHalf(x)));
      high = f64x2.add(high, f64x2.mul(w, highHalf(x)));
    }
    v128.store(out + at, i32x4.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 1, 4, 5));
  }
}

export function keepFrom(values: usize, bits: i32, equal: i32, n: i32): void {
  const mask = i32x4.splat(magnitude);
  const border = i32x4.splat(bits);
  const from = i32x4.splat(equal);
  let index = i32x4(0, 1, 2, 3);
  for (const end = values + 4 * n; values < end; values += 16) {
    const x = v128.load(values);
    const own = v128.and(x, mask);
    const behind = i32x4.ge_s(index, from);
    const drop = v128.or(i32x4.lt_u(own, border), v128.and(behind, i32x4.eq(own, border)));
    v128.store(values, v128.andnot(x, drop));
    index = i32x4.add(index, i32x4.splat(4));
  }
}

/** @returns how many indices were written */
export function findBits(indices: usize, values: usize, mask: i32, bits: i32, n: i32): i32 {
  const under = i32x4.splat(mask);
  const wanted = i32x4.splat(bits);
  let next = indices;
  for (let j = 0; j < n; j += 16, values += 64) {
    const first = i32x4.eq(v128.and(v128.load(values), under), wanted);
    const second = i32x4.eq(v128.and(v128.load(values, 16), under), wanted);
    const third = i32x4.eq(v128.and(v128.load(values, 32), under), wanted);
    const fourth = i32x4.eq(v128.and(v128.load(values, 48), under), wanted);
    const low = i16x8.narrow_i32x4_s(first, second);
    const high = i16x8.narrow_i32x4_s(third, fourth);
    for (let hits = i8x16.bitmask(i8x16.narrow_i16x8_s(low, high)); hits !== 0; hits &= hits - 1, next += 4)
      store<i32>(next, j + ctz(hits));
  }
  return <i32>((next - indices) >> 2);
}

export function toSigns(x: usize, undecided: f32, n: i32): void {
  const zero = f32x4.splat(0);
  for (const end = x + 4 * n; x < end; x += 16) {
    const value = v128.load(x);
    const above = v128.and(f32x4.gt(value, zero), f32x4.splat(1));
    const sign = v128.bitselect(f32x4.splat(-1), above, f32x4.lt(value, zero));
    v128.store(x, v128.bitselect(f32x4.splat(undecided), sign, f32x4.eq(value, zero)));
  }
}

export function addAgreeing(
  sum: usize,
  shares: usize,
  x: usize,
  signs: usize,
  w: f32,
  share: f32,
  turned: f32,
  n: i32,
): void {
  for (let at: usize = 0; at < <usize>(4 * n); at += 16) {
    const value = v128.load(x + at);
    const agreeing = f32x4.gt(f32x4.mul(f32x4.mul(f32x4.splat(turned), value), v128.load(signs + at)), f32x4.splat(0));
    const total = v128.load(sum + at);
    const shared = v128.load(shares + at);
    const more = f32x4.add(total, f32x4.mul(f32x4.splat(w), value));
    v128.store(sum + at, v128.bitselect(more, total, agreeing));
    v128.store(shares + at, v128.bitselect(f32x4.add(shared, f32x4.splat(share)), shared, agreeing));
  }
}

export function divide(sum: usize, shares: usize, least: f32, n: i32): void {
  const border = f32x4.splat(least);
  for (const end = sum + 4 * n; sum < end; sum += 16, shares += 16) {
    const value = v128.load(sum);
    const by = v128.load(shares);
    v128.store(sum, v128.bitselect(f32x4.div(value, by), value, f32x4.ge(f32x4.abs(by), border)));
  }
}

/** (s0 + s2) + (s1 + s3). */
function total(low: v128, high: v128): f64 {
  const pairs = f64x2.add(low, high);
  return f64x2.extract_lane(pairs, 0) + f64x2.extract_lane(pairs, 1);
}

export function sum(x: usize, n: i32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (const end = x + 4 * n; x < end; x += 16) {
    const value = v128.load(x);
    low = f64x2.add(low, lowHalf(value));
    high = f64x2.add(high, highHalf(value));
  }
  return total(low, high);
}

export function norm1(x: usize, n: i32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (const end = x + 4 * n; x < end; x += 16) {
    const value = f32x4.abs(v128.load(x));
    low = f64x2.add(low, lowHalf(value));
    high = f64x2.add(high, highHalf(value));
  }
  return total(low, high);
}

export function dot(a: usize, b: usize, n: i32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (const end = a + 4 * n; a < end; a += 16, b += 16) {
    const x = v128.load(a);
    const y = v128.load(b);
    low = f64x2.add(low, f64x2.mul(lowHalf(x), lowHalf(y)));
    high = f64x2.add(high, f64x2.mul(highHalf(x), highHalf(y)));
  }
  return total(low, high);
}

/** High and low words of the products of four pairs of 32-bit words with a constant. */
function highWords(a: v128, m: v128): v128 {
  return i32x4.shuffle(i64x2.extmul_low_i32x4_u(a, m), i64x2.extmul_high_i32x4_u(a, m), 1, 3, 5, 7);
}

const m0: i32 = 0xd2511f53;
const m1: i32 = 0xcd9e8d57;
const weyl0: i32 = 0x9e3779b9;
const weyl1: i32 = 0xbb67ae85;

/** Philox4x32-10, blocks first to first + 3 of a key: their words in order, 64 bytes. */
function fourBlocks(out: usize, first: i64, k0: i32, k1: i32): void {
  let c0 = i32x4(<i32>first, <i32>(first + 1), <i32>(first + 2), <i32>(first + 3));
  let c1 = i32x4(<i32>(first >> 32), <i32>((first + 1) >> 32), <i32>((first + 2) >> 32), <i32>((first + 3) >> 32));
  let c2 = i32x4.splat(0);
  let c3 = i32x4.splat(0);
  for (let round = 0; round < 10; round++) {
    const high1 = highWords(c2, i32x4.splat(m1));
    const high0 = highWords(c0, i32x4.splat(m0));
    const low1 = i32x4.mul(c2, i32x4.splat(m1));
    const low0 = i32x4.mul(c0, i32x4.splat(m0));
    c0 = v128.xor(v128.xor(high1, c1), i32x4.splat(k0));
    c1 = low1;
    c2 = v128.xor(v128.xor(high0, c3), i32x4.splat(k1));
    c3 = low0;
    k0 += weyl0;
    k1 += weyl1;
  }
  const first01 = i32x4.shuffle(c0, c1, 0, 4, 1, 5);
  const first23 = i32x4.shuffle(c2, c3, 0, 4, 1, 5);
  const last01 = i32x4.shuffle(c0, c1, 2, 6, 3, 7);
  const last23 = i32x4.shuffle(c2, c3, 2, 6, 3, 7);
  v128.store(out, i64x2.shuffle(first01, first23, 0, 2));
  v128.store(out, i64x2.shuffle(first01, first23, 1, 3), 16);
  v128.store(out, i64x2.shuffle(last01, last23, 0, 2), 32);
  v128.store(out, i64x2.shuffle(last01, last23, 1, 3), 48);
}

function clear(x: usize, drop: v128): void {
  v128.store(x, v128.andnot(v128.load(x), drop));
}

/**
 * @param scratch 128 bytes
 * @param offset a multiple of 64
 */
export function dropAtRandom(
  values: usize,
  scratch: usize,
  b0: i32,
  b1: i32,
  r0: i32,
  r1: i32,
  sure: i32,
  border: f64,
  offset: f64,
  n: i32,
): void {
  const least = i8x16.splat(<i8>sure);
  for (let j = 0; j < n; j += 64) {
    const at = <i64>offset + j;
    fourBlocks(scratch, at >> 4, b0, b1);
    for (let part = 0; part < 64; part += 16) {
      const bytes = v128.load(scratch + part);
      const own = values + 4 * (j + part);
      const drop = i8x16.gt_u(bytes, least);
      const low = i16x8.extend_low_i8x16_s(drop);
      const high = i16x8.extend_high_i8x16_s(drop);
      clear(own, i32x4.extend_low_i16x8_s(low));
      clear(own + 16, i32x4.extend_high_i16x8_s(low));
      clear(own + 32, i32x4.extend_low_i16x8_s(high));
      clear(own + 48, i32x4.extend_high_i16x8_s(high));
      for (let open = i8x16.bitmask(i8x16.eq(bytes, least)); open !== 0; open &= open - 1) {
        const lane = ctz(open);
        const word = at + part + lane;
        fourBlocks(scratch + 64, word >> 2, r0, r1);
        const draw = load<u32>(scratch + 64 + 4 * (<usize>word & 3)) >>> 8;
        if (<f64>draw * 5.9604644775390625e-8 >= border) store<f32>(own + 4 * lane, 0);
      }
    }
  }
}
