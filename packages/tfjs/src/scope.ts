import * as tf from '@tensorflow/tfjs-core';

/**
 * Runs `work` with a backend that has been started as TensorFlow.js's current one, and puts the other back. The
 * current backend is global, so everything in between is done in one go.
 */
export function onBackend<T>(backend: string, work: () => T): T {
  const before = tf.getBackend();
  if (before === backend) return work();
  void tf.setBackend(backend); // done when it returns: only the first start of a backend waits for something
  try {
    return work();
  } finally {
    if (before) void tf.setBackend(before);
  }
}
