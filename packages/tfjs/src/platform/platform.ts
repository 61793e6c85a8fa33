import type { DeviceTraits } from '../operations/operation.js';
import type { Device, TfjsOptions } from '../options.js';

/** What differs between Node and a page: the devices there are at all, each with how it is brought in. */
export type Platform = Readonly<Partial<Record<Device, Loader>>>;

/** What a package registered with TensorFlow.js. */
export interface Loaded {
  /** The name of its backend there. */
  readonly backend: string;
  readonly traits: DeviceTraits;
  /** Bytes that a run may take; absent where nobody knows, as of a graphics card. */
  readonly memory?: number;
}

/**
 * Loads a device's package.
 * @throws PeftError BACKEND_UNAVAILABLE with the install line
 */
export type Loader = (options: TfjsOptions) => Promise<Loaded>;
