import type { Graph } from '../../graph/graph.js';
import { isFloat } from '../../tensor/dtype.js';
import { modulePath } from './module-path.js';
import { slotNames } from './names.js';
import { linksOf } from './operands.js';
import { type Product, productOf } from './products.js';

/** A place of a foreign graph where an adapter can be added: what enters and leaves a module, under its path. */
export interface OnnxSite extends Product {
  readonly module: string;
  /** The node that computes the product. */
  readonly node: string;
}

export interface OnnxSites {
  /** In the order of the nodes. A module that is called several times has several. */
  readonly sites: readonly OnnxSite[];
  /** Modules that are left out, and why. */
  readonly problems: readonly string[];
}

const path = /^[\w-]+(\.[\w-]+)*$/;

/** Products of an adapter that is already there, and those that nothing gives a module path. */
const isModule = ({ module, weight, node }: OnnxSite): boolean =>
  path.test(module) &&
  !/\/lora_[AB](_\d+)?$/.test(node) &&
  !Object.values(slotNames).some((names) => names.read(weight) !== undefined);

/** Linear layers and embeddings of an ONNX model, by module path, however they are spelled or quantised. */
export function findOnnxSites(graph: Graph): OnnxSites {
  const links = linksOf(graph);
  const sites: OnnxSite[] = [];
  const problems: string[] = [];
  for (const node of graph.nodes) {
    const product = productOf(node, graph, links);
    if (!product) continue;
    const site = { ...product, module: modulePath(node, product.weight), node: node.name };
    if (!isModule(site)) continue;
    const problem = problemOf(site);
    if (problem) problems.push(`"${site.module}" (node "${node.name}") ${problem}.`);
    else sites.push(site);
  }
  return { sites, problems };
}

function problemOf({ kind, x, y, in: inside, columns, columnsOut }: OnnxSite): string | undefined {
  if (!isFloat(y.dtype)) return `gives ${y.dtype}, which a branch cannot be added to`;
  if (kind === 'embedding') return undefined;
  if ((columns && !x.shape) || (columnsOut && !y.shape)) return 'takes columns of a value whose axes are not known';
  const channels = x.shape?.at(columns ? -2 : -1);
  return typeof channels === 'number' && channels !== inside
    ? `multiplies ${channels} channels with a weight of ${inside}`
    : undefined;
}
