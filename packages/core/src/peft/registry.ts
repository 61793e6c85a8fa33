import { requireStamp } from '../delta/stamp.js';
import { ia3Layout } from './ia3/layout.js';
import type { Layout } from './layout.js';
import { loraLayout } from './lora/layout.js';
import { nativeLayout } from './native/layout.js';
import { shiraLayout } from './shira/layout.js';
import { supertuningLayout } from './supertuning/layout.js';
import { veraLayout } from './vera/layout.js';

/** File layouts by `peft_type`: a value that is passed on, never a global. */
export type Layouts = ReadonlyMap<string, Layout>;

/** What core brings, in the order in which `writeAdapter` tries them: those of PEFT, then the one that holds all. */
export const builtinLayouts: Layouts = new Map(
  [loraLayout, shiraLayout, supertuningLayout, ia3Layout, veraLayout, nativeLayout].map((layout) => [
    layout.peftType,
    layout,
  ]),
);

/** The built-in layouts and those of other packages. @throws PeftError PLUGIN_INCOMPATIBLE */
export function withLayouts(...outside: readonly Layout[]): Layouts {
  const layouts = new Map(builtinLayouts);
  for (const layout of outside) {
    requireStamp(layout, 'layout', 'v1', `The layout "${layout.peftType}"`);
    layouts.set(layout.peftType, layout);
  }
  return layouts;
}
