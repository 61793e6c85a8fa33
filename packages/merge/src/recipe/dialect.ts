/** What mergekit calls a method: which one it is here, with which options. Names that agree are not listed. */
const methods: Readonly<Record<string, { readonly name: string; readonly config: Readonly<Record<string, unknown>> }>> =
  {
    dare_linear: { name: 'dare', config: { consensus: 'none' } },
    dare_ties: { name: 'dare', config: { consensus: 'total' } },
    breadcrumbs_ties: { name: 'breadcrumbs', config: { consensus: 'total' } },
    della_linear: { name: 'della', config: { consensus: 'none' } },
    ramplus_tl: { name: 'ram', config: { plus: {} } },
  };

/** The method of a name, mergekit's included, and the options that the name stands for. */
export const methodNamed = (name: string) => methods[name] ?? { name, config: {} };
