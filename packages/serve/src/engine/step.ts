/** How the next token of a sequence is chosen. Temperature 0 takes the most likely token. */
export interface Sampling {
  readonly temperature: number;
  /** Only the most likely tokens that together have this probability are drawn from. */
  readonly topP: number;
  readonly seed: number;
}

/** A sequence that joins the batch. */
export interface Start {
  readonly id: number;
  readonly slot: number;
  readonly tokens: readonly number[];
  readonly sampling: Sampling;
}

/** One turn of the model. */
export interface Step {
  /** Sequences that ended: their cache is given back first. */
  readonly release: readonly number[];
  /** Sequences to read for the first time; each yields its first token. */
  readonly prefill: readonly Start[];
  /** Running sequences that get their next token. */
  readonly decode: readonly number[];
}

/** One run of the graph: the tokens it chose, in the order of its rows. */
export interface Ran {
  readonly phase: 'prefill' | 'decode';
  readonly tokens: readonly { readonly id: number; readonly token: number }[];
}

/** The model as the scheduler sees it. It keeps the cache of each sequence by the sequence's id. */
export interface StepModel {
  step(step: Step): Promise<readonly Ran[]>;
}
