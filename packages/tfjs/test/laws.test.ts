import { testBackend } from '@peftjs/testkit';
import { describe } from 'vitest';
import { tfjs } from '../src/index.js';
import { devices } from './devices.js';

for (const { device, skip } of devices)
  describe(`on ${device}`, () => testBackend(() => tfjs({ device }), { tolerance: { relToMax: 2e-6 }, skip }));
