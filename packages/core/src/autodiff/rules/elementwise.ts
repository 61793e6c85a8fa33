import { type Rules, sumTo } from '../rule.js';

const TWO_OVER_SQRT_PI = 2 / Math.sqrt(Math.PI);

/** Operations on each element. Constant ones (comparisons, Sign, Floor) have the gradient zero: nothing flows. */
export const elementwiseRules: Rules = {
  Add: ({ ops, x, dy, needs }) => x.map((v, i) => (needs[i] ? sumTo(ops, dy, v) : undefined)),
  Sub: ({ ops, x, dy, needs }) => [
    needs[0] ? sumTo(ops, dy, x[0]!) : undefined,
    needs[1] ? ops.neg(sumTo(ops, dy, x[1]!)) : undefined,
  ],
  Mul: ({ ops, x, dy, needs }) => [
    needs[0] ? sumTo(ops, ops.mul(dy, x[1]!), x[0]!) : undefined,
    needs[1] ? sumTo(ops, ops.mul(dy, x[0]!), x[1]!) : undefined,
  ],
  Div: ({ ops, x, y, dy, needs }) => {
    const scaled = ops.div(dy, x[1]!);
    return [
      needs[0] ? sumTo(ops, scaled, x[0]!) : undefined,
      needs[1] ? ops.neg(sumTo(ops, ops.mul(scaled, y[0]!), x[1]!)) : undefined,
    ];
  },
  Pow: ({ ops, x, y, dy, needs }) => {
    const [base, exponent] = [x[0]!, x[1]!];
    const constant = ops.graph.constants.get(exponent.name);
    const power = constant?.data.length === 1 ? Number(constant.data[0]) : undefined;
    const slope =
      power === undefined
        ? ops.mul(exponent, ops.pow(base, ops.sub(exponent, 1)))
        : power === 2
          ? ops.mul(base, 2)
          : ops.mul(ops.pow(base, ops.scalar(power - 1, base.dtype)), power);
    return [
      needs[0] ? sumTo(ops, ops.mul(dy, slope), base) : undefined,
      // d(b^e)/de = b^e ln b, with 0^e constant in e.
      needs[1]
        ? sumTo(ops, ops.mul(dy, ops.where(ops.greater(base, 0), ops.mul(y[0]!, ops.log(base)), 0)), exponent)
        : undefined,
    ];
  },
  // Ties go to the first operand, so that the two gradients add up to dy.
  Max: ({ ops, x, dy, needs }) => {
    const first = ops.greaterOrEqual(x[0]!, x[1]!);
    return [
      needs[0] ? sumTo(ops, ops.where(first, dy, 0), x[0]!) : undefined,
      needs[1] ? sumTo(ops, ops.where(first, 0, dy), x[1]!) : undefined,
    ];
  },
  Min: ({ ops, x, dy, needs }) => {
    const first = ops.lessOrEqual(x[0]!, x[1]!);
    return [
      needs[0] ? sumTo(ops, ops.where(first, dy, 0), x[0]!) : undefined,
      needs[1] ? sumTo(ops, ops.where(first, 0, dy), x[1]!) : undefined,
    ];
  },
  Where: ({ ops, x, dy, needs }) => [
    undefined,
    needs[1] ? sumTo(ops, ops.where(x[0]!, dy, 0), x[1]!) : undefined,
    needs[2] ? sumTo(ops, ops.where(x[0]!, 0, dy), x[2]!) : undefined,
  ],
  Clip: ({ ops, x, dy }) => {
    const inside = ops.and(ops.greaterOrEqual(x[0]!, x[1]!), ops.lessOrEqual(x[0]!, x[2]!));
    return [ops.where(inside, dy, 0)];
  },
  Neg: ({ ops, dy }) => [ops.neg(dy)],
  Exp: ({ ops, y, dy }) => [ops.mul(dy, y[0]!)],
  Log: ({ ops, x, dy }) => [ops.div(dy, x[0]!)],
  Sqrt: ({ ops, y, dy }) => [ops.div(ops.mul(dy, 0.5), y[0]!)],
  Reciprocal: ({ ops, y, dy }) => [ops.neg(ops.mul(dy, ops.mul(y[0]!, y[0]!)))],
  Abs: ({ ops, x, dy }) => [ops.mul(dy, ops.sign(x[0]!))],
  // d erf(x)/dx = (2/√π) e^(-x²)
  Erf: ({ ops, x, dy }) => [ops.mul(dy, ops.mul(ops.exp(ops.neg(ops.mul(x[0]!, x[0]!))), TWO_OVER_SQRT_PI))],
  Tanh: ({ ops, y, dy }) => [ops.sub(dy, ops.mul(dy, ops.mul(y[0]!, y[0]!)))],
  Sigmoid: ({ ops, y, dy }) => {
    const scaled = ops.mul(dy, y[0]!);
    return [ops.sub(scaled, ops.mul(scaled, y[0]!))];
  },
  Relu: ({ ops, x, dy }) => [ops.where(ops.greater(x[0]!, 0), dy, 0)],
  Cos: ({ ops, x, dy }) => [ops.neg(ops.mul(dy, ops.sin(x[0]!)))],
  Sin: ({ ops, x, dy }) => [ops.mul(dy, ops.cos(x[0]!))],
  Identity: ({ dy }) => [dy],
  Cast: ({ ops, x, dy }) => [ops.cast(dy, x[0]!.dtype)],
  Sign: () => [],
  Floor: () => [],
};
