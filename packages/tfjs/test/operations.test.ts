import { createGraph, createOps, type Graph, onnxCode, type ShapedValue, type Tensor } from '@peftjs/core';
import { expectBitEqual, expectClose, referenceBackend, tensorOf } from '@peftjs/testkit';
import { afterAll, describe, it } from 'vitest';
import { tfjs } from '../src/index.js';
