import {
  type Bound,
  type Clock,
  defineMethod,
  f32,
  type Initial,
  type Method,
  PeftError,
  type Random,
  type StepEdit,
  type StepEnd,
  type Target,
  type Tensor,
  zeros,
} from '@peftjs/core';
import type * as z from 'zod';
import { adamwByCount } from './adamw-by-count.js';
import { type IstOptions, type IstSettings, istSettings } from './config.js';
import { rewarded, sigmoid } from './importance.js';
import { countOf, distinct, drawWithout, layersOf } from './layers.js';
import { scaled, without } from './scaled.js';

/** A choice of layers that is to be made. */
export interface LayerDraw {
  /** To train at an update, or to suppress in a look. */
  readonly purpose: 'train' | 'suppress';
  readonly clock: Clock;
  /** Number of the set in a look, from 0. */
  readonly subset: number;
  /** In whose proportion layers are drawn. */
  readonly weights: readonly number[];
  readonly count: number;
  readonly rng: Random;
}

/** The places of the chosen layers among all that have targets. */
export type DrawLayers = (draw: LayerDraw) => readonly number[];

const byWeight: DrawLayers = ({ weights, count, rng }) => drawWithout(weights, count, rng);

const importance = 'istImportance';
const factor = 'istFactor';
const own = [importance, factor];
const importanceName = `*:${importance}`;

const numbers = (tensor: Tensor | undefined): number[] => Array.from(tensor!.data as Float32Array);
const one = f32([], [1]);

/** A target's tensors with the factor of its layer; nothing where there is nothing. */
const withFactor = (initial: Initial): Initial => {
  const any = [initial.train, initial.frozen, initial.held].some((tensors) => Object.keys(tensors ?? {}).length > 0);
  return any ? { ...initial, held: { ...initial.held, [factor]: one } } : initial;
};

const withImportance = (initial: Initial | undefined, I: Tensor): Initial => ({
  train: {},
  ...initial,
  held: { ...initial?.held, [importance]: I },
});

/**
 * Importance-aware sparse tuning (Yao et al. 2024): trains a few layers at each update, the important ones more often.
 * Wraps any method: `ist(lora({ r: 8 }), { trained: 0.25 })`; what is saved is the wrapped method's.
 * @param draw how layers are drawn; by their weights when not given
 * @throws PeftError CONFIG_INVALID for wrong options, CONFIG_UNSUPPORTED for a method that chooses targets itself, or
 *   trains by losses alone
 */
export function ist<Schema extends z.ZodType>(
  bound: Bound<Schema>,
  options: IstOptions = {},
  draw: DrawLayers = byWeight,
): Bound<Schema> {
  const settings = istSettings(options);
  const { method, config } = bound;
  if (method.active)
    throw new PeftError('CONFIG_UNSUPPORTED', `ist: ${method.name} chooses itself which targets an update changes.`);
  if (method.forward)
    throw new PeftError(
      'CONFIG_UNSUPPORTED',
      `ist: ${method.name} moves all targets at once to see what the loss does: train it without.`,
    );
  const bind = defineMethod<Schema>({
    ...method,
    ...scaled(method, factor, own),
    ...layerwise(method, settings, draw),
  });
  return bind(config as never);
}

type C<Schema extends z.ZodType> = z.output<Schema>;

/** What moves in a run. */
function layerwise<Schema extends z.ZodType>(
  method: Method<Schema>,
  settings: IstSettings,
  draw: DrawLayers,
): Partial<Method<Schema>> {
  return {
    init: (target, c, rng, given) => withFactor(method.init(target, c, rng, given)),
    shared(sites, c, rng) {
      return withImportance(method.shared?.(sites, c, rng), zeros([layersOf(sites).length]));
    },
    ...(method.next && {
      async next(end) {
        const I = end.sites[0]!.p[importance]!;
        const left = end.sites.map((site) => without(site, own)).filter(({ p }) => Object.keys(p).length > 0);
        const start = await method.next!({ ...end, sites: left });
        const sites = new Map([...start.sites].map(([path, initial]) => [path, withFactor(initial)]));
        return { ...start, sites, shared: withImportance(start.shared, I) };
      },
    }),
    rule: (parameter, c) => ({ optimizer: adamwByCount, ...method.rule?.(parameter, c) }),
    active({ clock, sites, held, rng }) {
      const layers = layersOf(sites);
      const weights = numbers(held.get(importanceName)).map((I) => sigmoid(-I));
      const count = countOf(settings.trained, layers.length);
      const drawn = draw({ purpose: 'train', clock, subset: 0, weights, count, rng });
      const chosen = new Set(drawn.map((i) => layers[i]!));
      return new Set(pathsIn(sites, (layer) => layer === undefined || chosen.has(layer)));
    },
    async onStep(end) {
      const first = await method.onStep?.(end);
      const looks = !settings.random && end.clock.step % settings.interval === 0 && end.clock.step < end.clock.total;
      if (!looks || first?.stop) return first;
      const I = await looked(end, settings, draw);
      return { ...first, set: new Map([...(first?.set ?? []), [importanceName, I]]) } satisfies StepEdit;
    },
  };
}

const pathsIn = (
  sites: readonly { readonly target: Target }[],
  wanted: (layer: number | undefined) => boolean,
): string[] => sites.flatMap(({ target }) => (wanted(target.layer) ? [target.path] : []));

/** Tries sets of layers with their updates scaled down, on the same rows, and gives the importance after it. */
async function looked<Schema extends z.ZodType>(
  { clock, sites, rng, read, loss }: StepEnd<C<Schema>>,
  { subsets, suppressed, factor: scale, rate, rows }: IstSettings,
  draw: DrawLayers,
): Promise<Tensor> {
  const layers = layersOf(sites);
  const I = numbers((await read([importanceName])).get(importanceName));
  const weights = I.map(sigmoid);
  const count = countOf(suppressed, layers.length);
  const tried = distinct(subsets, (subset, attempt) =>
    draw({ purpose: 'suppress', clock, subset, weights, count, rng: rng.fork('subset', attempt) }),
  );
  const losses: number[] = [];
  for (const drawn of tried) {
    const chosen = new Set(drawn.map((i) => layers[i]!));
    const paths = pathsIn(sites, (layer) => layer !== undefined && chosen.has(layer));
    losses.push(await loss(rows, new Map(paths.map((path) => [`${path}:${factor}`, f32([], [scale])])), 0));
  }
  return f32([I.length], rewarded(I, tried, losses, rate));
}
