/** The compiled kernels as a TypeScript module. */
export function compiled(): Promise<string>;
