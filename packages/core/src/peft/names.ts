/** Files of an adapter's folder, as PEFT names them. */
export const configName = 'adapter_config.json';
export const weightsName = 'adapter_model.safetensors';
export const indexName = 'adapter_model.safetensors.index.json';
export const pickleName = 'adapter_model.bin';
/** Ours, beside PEFT's: what its files cannot say. */
export const sidecarName = 'peftjs.json';

/** Before every tensor name: PEFT's wrapper and the model inside it. */
export const tensorPrefix = 'base_model.model.';

/** The release whose set of keys is written. */
export const peftVersion = '0.21.0';

/** PEFT's task types by the names of tasks. */
export const taskTypes: Readonly<Record<string, string>> = {
  'sequence-classification': 'SEQ_CLS',
  'token-classification': 'TOKEN_CLS',
  'causal-lm': 'CAUSAL_LM',
  'question-answering': 'QUESTION_ANS',
  'feature-extraction': 'FEATURE_EXTRACTION',
};

/** Heads that PEFT adds to `modules_to_save` by itself for these task types, whether the model has them or not. */
export const automaticHeads: Readonly<Record<string, readonly string[]>> = {
  SEQ_CLS: ['classifier', 'score'],
  TOKEN_CLS: ['classifier', 'score'],
  QUESTION_ANS: ['qa_outputs'],
};

/** Embeddings that PEFT saves in full when they were resized, without listing them anywhere. */
export const automaticEmbeddings: readonly string[] = ['embed_tokens', 'lm_head'];
