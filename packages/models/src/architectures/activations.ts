import type { ShapedValue } from '@peftjs/core/graph';
import type { Net } from './net.js';

/** Activation functions by their name in config.json. */
export const activations: Readonly<Record<string, (net: Net, x: ShapedValue) => ShapedValue>> = {
  gelu: (net, x) => net.ops.gelu(x),
  gelu_new: (net, x) => net.ops.geluTanh(x),
  gelu_pytorch_tanh: (net, x) => net.ops.geluTanh(x),
  relu: (net, x) => net.ops.relu(x),
  silu: (net, x) => net.ops.silu(x),
  swish: (net, x) => net.ops.silu(x),
  tanh: (net, x) => net.ops.tanh(x),
};
