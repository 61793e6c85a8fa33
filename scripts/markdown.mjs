/** The first TypeScript block of a page, or undefined. */
export const firstBlock = (markdown) => /^```ts\n([\s\S]*?)\n```$/m.exec(markdown)?.[1];
