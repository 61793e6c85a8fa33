import { adafactor, adagrad, adam, adamw, type Optimizer, PeftError, rmsprop, sgd } from '@peftjs/core';

/** An optimizer as cases write it: torch's class (`class` or `type`) and its arguments. */
export interface TorchOptimizer {
  readonly class?: string;
  readonly type?: string;
  readonly lr: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly alpha?: number;
  readonly weight_decay?: number;
  readonly momentum?: number;
  readonly nesterov?: boolean;
  readonly amsgrad?: boolean;
}

const defined = <T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;

const moments = ({ betas, eps, amsgrad }: TorchOptimizer) =>
  defined({ betas: betas && ([betas[0], betas[1]] as [number, number]), eps, amsgrad });

const translations: Readonly<Record<string, (given: TorchOptimizer) => Optimizer>> = {
  AdamW: (given) => adamw(moments(given)),
  Adam: (given) => adam(moments(given)),
  SGD: ({ momentum, nesterov }) => sgd(defined({ momentum, nesterov })),
  RMSprop: ({ alpha, eps }) => rmsprop(defined({ alpha, eps })),
  Adagrad: ({ eps }) => adagrad(defined({ eps })),
  Adafactor: () => adafactor(),
  // PEFT's LoRA-FA optimizer: Adam with eps before the bias correction, decay after the step.
  'LoRA-FA': (given) => adamw({ ...moments(given), epsPlacement: 'before', decayPlacement: 'after' }),
};

/** @throws PeftError CONFIG_UNSUPPORTED for an optimizer that is not built */
export function optimizerOf(given: TorchOptimizer): Optimizer {
  const name = given.class ?? given.type ?? '';
  const translate = translations[name];
  if (!translate) throw new PeftError('CONFIG_UNSUPPORTED', `No optimizer "${name}".`);
  return translate(given);
}

/** What a case's optimizer says to `train`: the rule, its rate and its decay. */
export const runOf = (given: TorchOptimizer) => ({
  lr: given.lr,
  weightDecay: given.weight_decay ?? 0,
  optimizer: optimizerOf(given),
});
