/** Every package: folder name, path and parsed package.json. */
export const packages: readonly {
  readonly folder: string;
  readonly path: string;
  readonly manifest: { readonly name: string; readonly description: string };
}[];
