import type { Adapter, Backend, Example, Rows, Run, TaskModel } from '@peftjs/core';
import { deltazip } from '../deltazip/codec.js';
import { calibration } from '../deltazip/moments.js';
import { type CalibrateEvent, type CalibrateOptions, calibrateScales } from '../signs/calibrate.js';
import { bitdelta } from '../signs/codec.js';
import type { Update } from './model.js';

/** How a codec of this package makes use of a model and data: before it compresses, or after. */
export interface Calibrator {
  /** Options that go to the codec. @throws PeftError DATA_INVALID */
  configure?<E extends Example>(
    model: TaskModel<E>,
    options: { readonly data: Rows; readonly backend: Backend; readonly batchSize?: number; readonly exact: Update },
  ): Promise<Readonly<Record<string, unknown>>>;
  /** A better update in the codec's own terms. */
  refine?<E extends Example>(
    model: TaskModel<E>,
    update: { readonly exact: Update; readonly compressed: Adapter },
    options: CalibrateOptions,
  ): Run<CalibrateEvent, Adapter>;
}

/** The codecs of this package that can be calibrated, by name. */
export const calibrators: ReadonlyMap<string, Calibrator> = /* @__PURE__ */ new Map<string, Calibrator>([
  [bitdelta.codec.name, { refine: calibrateScales }],
  [
    deltazip.codec.name,
    {
      async configure(model, { exact, ...options }) {
        return { calibration: await calibration(model, { ...options, replaced: exact.replaced }) };
      },
    },
  ],
]);
