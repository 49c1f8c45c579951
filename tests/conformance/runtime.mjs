// Loads onnxruntime-web's training build, and turns its errors, some of which are addresses of C++ exceptions, into text.

import { fileURLToPath } from 'node:url';
import path from 'node:path';

const folder = path.dirname(fileURLToPath(import.meta.url));
const message = { words: 40, longest: 4096 };

let memory;
const OriginalMemory = WebAssembly.Memory;
function KeptMemory(descriptor) {
  memory = new OriginalMemory(descriptor);
  return memory;
}
KeptMemory.prototype = OriginalMemory.prototype;
WebAssembly.Memory = KeptMemory;

/** The training build of ONNX Runtime 1.19.2, one thread: more need an import that Node does not have there. */
export async function loadRuntime() {
  const ort = await import(path.join(folder, 'node_modules/onnxruntime-web/dist/ort.training.wasm.mjs'));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {
    mjs: new URL('wasm-module.mjs', import.meta.url),
    wasm: new URL('node_modules/onnxruntime-web/dist/ort-training-wasm-simd-threaded.wasm', import.meta.url),
  };
  return ort;
}

/** The text of whatever the runtime threw: the longest string that the exception object points at. */
export function describe(error) {
  if (typeof error !== 'number') return error?.stack ?? String(error);
  const bytes = new Uint8Array(memory.buffer);
  let best = '';
  for (const address of new Uint32Array(memory.buffer, error, message.words)) {
    let end = address;
    while (end < bytes.length && end - address < message.longest && bytes[end] >= 9 && bytes[end] < 127) end++;
    if (bytes[end] === 0 && end - address > best.length) best = Buffer.from(bytes.slice(address, end)).toString();
  }
  return best || `exception at ${error}`;
}
