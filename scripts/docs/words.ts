// How pages write figures.
import type { Task } from '../../benchmarks/methods/recipes.js';

/** The data set and how often a run saw it. */
export const passesOver = ({ name, epochs }: Task): string => `${name}, ${epochs} epoch${epochs === 1 ? '' : 's'}`;

/** A part as a percentage; nothing where it was not measured. */
export const percent = (part: number | undefined): string => (part === undefined ? '' : `${Math.round(100 * part)} %`);
