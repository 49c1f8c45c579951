// onnxruntime-web 1.19.2 frees an address of its stack when it reads a session's parameters (getContiguousParameters), which
// corrupts memory or fails, depending on what lies there. What was allocated last on the stack lies at its top: such calls
// are left out.

/** A factory of ONNX Runtime's WebAssembly module that gives mended modules. */
export const mended = (factory) => async (options) => {
  const module = await factory(options);
  // The first call puts the real function in place of a stub, and would put it in place of ours.
  module._free(0);
  const free = module._free;
  module._free = (address) => {
    if (address !== module.stackSave()) free(address);
  };
  return module;
};
