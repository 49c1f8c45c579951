// The module that ort.env.wasm.wasmPaths names in place of ONNX Runtime's own.

import factory from './node_modules/onnxruntime-web/dist/ort-training-wasm-simd-threaded.mjs';
import { mended } from './mended.mjs';

export default mended(factory);
