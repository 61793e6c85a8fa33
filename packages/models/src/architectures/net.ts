import type { Site, Target } from '@peftjs/core';
import { createGraph, createOps, type Ops, type ShapedValue } from '@peftjs/core/graph';
import type { TensorRef } from '@peftjs/core/tensor';

/** Where an architecture's parameters come from. */
export interface ParameterSource {
  /** The parameter at `path`, which must have `shape`. */
  lookup(path: string, shape: readonly number[]): TensorRef;
  /** Parameters that are another one under a second name: alias -> source. */
  readonly tied: Readonly<Record<string, string>>;
  /** Other paths of a module or parameter; its own may be among them. */
  aliases?(path: string): readonly string[];
  /** What shape the checkpoint has for the parameter at `path`, if it has it. */
  shapeOf?(path: string): readonly number[] | undefined;
}

/** What an architecture builds with: the graph's operations, the weights by parameter path, and the named places. */
export interface Net extends ParameterSource {
  readonly ops: Ops;
  readonly sites: Map<string, Site>;
}

export const createNet = (name: string, source: ParameterSource): Net => ({
  ...source,
  ops: createOps(createGraph(name)),
  sites: new Map(),
});

/** A weight as a graph value, named by its parameter path. Tied ones are one value, until one changes alone. */
export const parameter = (net: Net, path: string, shape: readonly number[]): ShapedValue =>
  net.ops.weight(net.tied[path] ?? path, net.lookup(path, shape));

function aliasesOf(net: Net, path: string): Pick<Target, 'aliases'> {
  const aliases = net.aliases?.(path).filter((alias) => alias !== path) ?? [];
  return aliases.length > 0 ? { aliases } : {};
}

function place(net: Net, target: Target, x: ShapedValue, y: ShapedValue): ShapedValue {
  net.sites.set(target.path, { target, x, y });
  return y;
}

export interface LinearOptions {
  readonly in: number;
  readonly out: number;
  readonly bias?: boolean;
  /** `conv1d`: the weight is (in, out). */
  readonly kind?: 'linear' | 'conv1d';
  readonly layer?: number;
  readonly role?: Target['role'];
  /** Of a target that plays a role in attention. */
  readonly attention?: HeadSizes;
  readonly head?: boolean;
}

/** Extents of attention. */
export interface HeadSizes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/**
 * Rows of a module's weight (out, in). Layers are as large as their tensors: where the checkpoint has fewer rows than the
 * configuration says, and whole units of them, the layer has been pruned. All else is what the configuration says.
 */
export function rowsLeft(net: Net, path: string, configured: number, unit = 1): number {
  const rows = net.shapeOf?.(`${path}.weight`)?.[0] ?? configured;
  return rows > 0 && rows < configured && rows % unit === 0 ? rows : configured;
}

/** y = x Wᵀ + b of a module with weight (out, in): x [rows, in] -> [rows, out]. Its path becomes a target. */
export function linear(net: Net, path: string, x: ShapedValue, options: LinearOptions): ShapedValue {
  const { in: width, out, bias = false, kind = 'linear', layer, role, attention, head } = options;
  const shape = kind === 'linear' ? [out, width] : [width, out];
  const parameters: Record<string, TensorRef> = { weight: net.lookup(`${path}.weight`, shape) };
  if (bias) parameters.bias = net.lookup(`${path}.bias`, [out]);
  const target: Target = {
    kind,
    path,
    ...aliasesOf(net, path),
    in: width,
    out,
    parameters,
    ...(layer !== undefined && { layer }),
    ...(role && { role }),
    ...(attention && { heads: attention.heads, kvHeads: attention.kvHeads, headDim: attention.headDim }),
    ...(head && { head }),
  };
  const y = net.ops.scope(path, () =>
    net.ops.gemm(x, parameter(net, `${path}.weight`, shape), bias ? parameter(net, `${path}.bias`, [out]) : undefined, {
      transB: kind === 'linear',
    }),
  );
  return place(net, target, x, y);
}

/** Rows of a table: ids i64 [rows] -> [rows, width]. Its path becomes a target. */
export function embedding(net: Net, path: string, ids: ShapedValue, size: number, width: number): ShapedValue {
  const ref = net.lookup(`${path}.weight`, [size, width]);
  const target: Target = { kind: 'embedding', path, in: size, out: width, parameters: { weight: ref } };
  const y = net.ops.scope(path, () => net.ops.gather(parameter(net, `${path}.weight`, [size, width]), ids));
  return place(net, target, ids, y);
}

export const layerNorm = (net: Net, path: string, x: ShapedValue, width: number, epsilon: number): ShapedValue => {
  const scale = parameter(net, `${path}.weight`, [width]);
  const bias = parameter(net, `${path}.bias`, [width]);
  return net.ops.scope(path, () => net.ops.layerNorm(x, scale, bias, epsilon));
};

export const rmsNorm = (net: Net, path: string, x: ShapedValue, width: number, epsilon: number): ShapedValue => {
  const scale = parameter(net, `${path}.weight`, [width]);
  return net.ops.scope(path, () => net.ops.rmsNorm(x, scale, epsilon));
};
