import { defineLayout } from '../layout.js';
import { readNative } from './read.js';
import { writeNative } from './write.js';

/**
 * PEFTJS: terms of every kind exactly as they are, for what PEFT has no layout for (and cannot read). `adapter_config.json`
 * lists the parameters with their shapes and terms, `adapter_model.safetensors` holds their tensors under
 * `terms/PARAMETER/INDEX/NAME`, and parameters in full under `replaced/PARAMETER`.
 */
export const nativeLayout = defineLayout({ spec: 'v1', peftType: 'PEFTJS', read: readNative, write: writeNative });
