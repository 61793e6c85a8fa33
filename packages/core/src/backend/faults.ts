import { lessMemory } from './memory.js';

/** Faults of the machine, not of the graph, by what runtimes say of them. */
const faults: readonly (readonly [pattern: RegExp, meaning: string])[] = [
  [
    /bad_alloc|out of memory|\bOOM\b|failed to allocate|allocation failed|shape is too large|invalid typed array length|enlarge memory/i,
    `memory ran out: ${lessMemory}`,
  ],
  [
    /device\b.{0,40}\b(lost|destroyed)|device_lost|lost device/i,
    'the device was lost (its driver was reset, or it ran out of memory): make the backend anew, and take another device if it is lost again',
  ],
];

/** What a runtime's message says of the machine, with the remedy; undefined where the fault is not the machine's. */
export const machineFault = (message: string): string | undefined =>
  faults.find(([pattern]) => pattern.test(message))?.[1];
