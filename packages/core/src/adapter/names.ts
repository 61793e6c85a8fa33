/** In place of a target's path in the names of tensors that all targets share. */
export const sharedPath = '*';

/** The name of a method's tensor in a graph. */
export const tensorName = (path: string, letter: string): string => `${path}:${letter}`;
