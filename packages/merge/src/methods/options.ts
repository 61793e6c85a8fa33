import * as z from 'zod';

/** Options that several methods share, by the words users know them under. */
export const lambda = z.number().default(1).meta({ description: 'Scales the merged task vector before it is added.' });

export const density = z
  .number()
  .gt(0)
  .max(1)
  .meta({ description: "Fraction of each task vector's elements that is kept." });

export const normalize = z.boolean().meta({ description: 'Divide by the sum of the weights that take part.' });

export const consensus = z.enum(['none', 'total', 'frequency']).meta({
  description:
    'Let the models elect a sign per element, by the sum or the number of signs, and drop those that disagree.',
});

/** What is wrong with weights where a method has no place for them. */
export const noWeights = (weights: readonly number[], remedy: string): string[] =>
  weights.every((weight) => weight === 1) ? [] : [`it has no weights of models: ${remedy}`];

/** What is wrong with weights that are divided by their sum. */
export const sumProblems = (weights: readonly number[]): string[] =>
  Math.abs(weights.reduce((sum, weight) => sum + weight, 0)) > 1e-8
    ? []
    : [
        `the weights ${weights.join(', ')} sum to 0 and cannot be divided by their sum: change one, or set normalize: false`,
      ];
