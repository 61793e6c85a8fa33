/** The three spellings of a key: camelCase in code, snake_case in files and events, kebab-case on the command line. */
export const camelCase = (key: string): string =>
  key.replace(/[-_]([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

export const snakeCase = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

export const kebabCase = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
