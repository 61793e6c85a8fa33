import { openModel, taskOf } from './tasks.js';

/** The shapes of a model's parameters, for adapters whose files do not say them; none without a model. */
export const shapesOf = (directory: string | undefined) =>
  directory === undefined
    ? {}
    : {
        shapes: async () => {
          const { parameters } = await openModel(directory, await taskOf(directory));
          return new Map([...parameters].map(([path, { shape }]) => [path, shape]));
        },
      };
