import { lora } from '@peftjs/lora';
import { onnxruntime } from '@peftjs/onnxruntime';
import { testMethod } from '../src/test-method.js';

testMethod(lora);
testMethod(lora, { config: { r: 2, targetModules: ['up', 'down'] } });
testMethod(lora, { config: { r: 2, alpha: 4 }, backend: () => onnxruntime() });
testMethod(lora, {
  config: { r: 3, rslora: true, init: 'gaussian', rankPattern: { up: 2 }, alphaPattern: { down: 5 } },
});
testMethod(lora, { config: { r: 2, init: 'orthogonal', plus: { ratio: 4 } } });
testMethod(lora, { config: { r: 2, init: false }, startsChanged: true });
testMethod(lora, { config: { r: 2, loraBias: true } });
testMethod(lora, { config: { r: 2, fa: true } });
testMethod(lora, {
  config: { r: 2, dropout: 0.2, targetModules: ['up', 'mix'], bias: 'lora_only', modulesToSave: ['head'] },
});
