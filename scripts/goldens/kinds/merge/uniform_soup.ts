import { isFloat, isPeftError } from '@peftjs/core';
import { mergeTensors, uniformSoup } from '@peftjs/merge';
import type { Tensors } from '../../case.js';
import { mergeKind } from '../../merging.js';

const onlyFloats = (model: Tensors): Tensors => new Map([...model].filter(([, { dtype }]) => isFloat(dtype)));

// The reference averages integer buffers too; here they are never averaged silently, as the record requires.
export const run = mergeKind(
  async ({ record, models, ids }) => {
    try {
      return mergeTensors(uniformSoup, { models, ids });
    } catch (error) {
      if (record.expect === 'refusal' || !isPeftError(error) || !error.message.includes('never averaged')) throw error;
      return mergeTensors(uniformSoup, { models: models.map(onlyFloats), ids });
    }
  },
  { leave: (name, { values }) => values !== undefined && name in values },
);
