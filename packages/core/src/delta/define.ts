import type { Kind } from './delta.js';
import { stamp } from './stamp.js';

/** A kind of term, marked for this contract: what a package lists under `kinds`. */
export const defineKind = (kind: Kind): Kind => stamp({ ...kind }, 'kind', kind.spec);
