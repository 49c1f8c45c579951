// ONNX Runtime's WebAssembly module as the sample mends it.

import factory from './node_modules/onnxruntime-web/dist/ort-training-wasm-simd-threaded.mjs';
import { mended } from '../../docs/samples/web-finetune/mended.mjs';

export default mended(factory);
