/** Models in the order they are merged: a leaf, or two branches. */
export type Branches<T> = { readonly leaf: T } | { readonly left: Branches<T>; readonly right: Branches<T> };

/**
 * Branch and merge (Alexandrov et al. 2024): merges pairs up a tree, with SLERP or any other merge of two. Training
 * starts the branches of a round from the result of the one before.
 */
export async function mergeBranches<T>(
  branches: Branches<T>,
  merge: (left: T, right: T) => T | Promise<T>,
): Promise<T> {
  if ('leaf' in branches) return branches.leaf;
  const left = await mergeBranches(branches.left, merge);
  return merge(left, await mergeBranches(branches.right, merge));
}

/** ((a b) c) d: each model into the result of those before. @param models at least one */
export const chain = <T>([first, ...rest]: readonly [T, ...T[]]): Branches<T> =>
  rest.reduce<Branches<T>>((left, model) => ({ left, right: { leaf: model } }), { leaf: first });
