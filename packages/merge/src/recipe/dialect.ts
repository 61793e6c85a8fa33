/** What mergekit calls a method: which one it is here, with which options. Names that agree are not listed. */
const methods: Readonly<Record<string, { readonly name: string; readonly config: Readonly<Record<string, unknown>> }>> =
  {
    dare_linear: { name: 'dare', config: { consensus: 'none' } },
    dare_ties: { name: 'dare', config: { consensus: 'total' } },
    breadcrumbs_ties: { name: 'breadcrumbs', config: { consensus: 'total' } },
    della_linear: { name: 'della', config: { consensus: 'none' } },
    ramplus_tl: { name: 'ram', config: { plus: {} } },
  };

/** Where mergekit's definition of a method differs from the default here: a recipe means mergekit's. */
const inRecipes: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  model_stock: { clamp: false, normsAtLeast: 1e-6 },
  sce: { uniformBelow: 1e-6 },
};

/** The method of a name, mergekit's included, and the options that the name stands for. */
export const methodNamed = (name: string) => methods[name] ?? { name, config: {} };

/** The same in a recipe: mergekit's definition where the two differ. What the recipe says itself comes first. */
export function recipeMethodNamed(name: string) {
  const method = methodNamed(name);
  return { ...method, config: { ...inRecipes[method.name], ...method.config } };
}
