export type { AdapterOptions, AdapterWeights, WeightedAdapter } from './adapters.js';
export {
  type Architecture,
  type BuildOptions,
  type CacheShape,
  defineArchitecture,
  type Head,
  type ImageShape,
} from './architectures/architecture.js';
export { architectures, findArchitecture } from './architectures/index.js';
export type { Net } from './architectures/net.js';
export type { Pooling } from './architectures/pooling.js';
export { type ChatMessage, type ChatOptions, type ChatTemplate, createChatTemplate, readChatTemplate } from './chat.js';
export { type ModelConfig, modelConfig, type RawConfig, readConfig } from './config.js';
export { type Bins, cheapestBins, paddedBins, splitBins } from './data/bins.js';
export { imageRows } from './data/image-rows.js';
export { ignored, type Layout, type PackOptions, packBatch, type Sequence } from './data/pack.js';
export { type Row, type RowsOptions, rows } from './data/read.js';
export { type Decoder, type DecoderOptions, openDecoder } from './decoder.js';
export type { Form, FormOptions } from './forms.js';
export { type Completion, type GenerateOptions, generate, type TokenEvent } from './generate.js';
export { decodeImage } from './images/decode.js';
export type { Image } from './images/image.js';
export { createKvCache, type KvCache } from './kv-cache.js';
export { type LoadOptions, loadModel, type Model } from './load.js';
export { prunedParameters, type Removed } from './prune.js';
export { prunedConfig } from './pruned-config.js';
export { createSampler, type Sampler, type SamplingOptions } from './sampling.js';
export {
  openSession,
  openWriter,
  type PredictOptions,
  type Session,
  type SessionOptions,
  type Writer,
  type WriterOptions,
} from './session.js';
export { type CausalLmOptions, causalLm } from './tasks/causal-lm.js';
export { type ClassificationOptions, labelsIn } from './tasks/classification.js';
export { type EmbeddingOptions, embedding } from './tasks/embedding.js';
export { type ImageClassificationOptions, type ImageInput, imageClassification } from './tasks/image-classification.js';
export { type SequenceClassificationOptions, sequenceClassification } from './tasks/sequence-classification.js';
export type { ModelPieces, ModelTask, Prediction, TaskFactory } from './tasks/task.js';
export type { TextStream } from './text-stream.js';
export { createTokenizer, type EncodeOptions, type Encoding, readTokenizer, type Tokenizer } from './tokenizer.js';
