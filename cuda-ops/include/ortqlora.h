/* The C ABI of libortqlora_ops beside RegisterCustomOps, which ONNX Runtime calls.
 *
 * Fixed-width types; the caller owns all memory. Every function returns a status, never throws, and writes a
 * message (UTF-8, always terminated, cut to fit) to `error` where it fails. `error` may be null, and is left
 * empty on success. */
#ifndef ORTQLORA_H_
#define ORTQLORA_H_

#include <stdint.h>

#if defined(_WIN32)
#define ORTQLORA_EXPORT __declspec(dllexport)
#else
#define ORTQLORA_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever a function below changes its meaning or an op its schema. */
#define ORTQLORA_ABI_VERSION 2
/* Domain of all ops; their version is 1. */
#define ORTQLORA_DOMAIN "ortqlora"

/* Statuses. */
#define ORTQLORA_OK 0
#define ORTQLORA_INVALID_ARGUMENT 1
#define ORTQLORA_BUFFER_TOO_SMALL 2
#define ORTQLORA_FAILED 3

/* The ABI version this library was built with: check it before anything else. */
ORTQLORA_EXPORT int32_t ortqlora_abi_version(int32_t* version, char* error, int64_t error_capacity);

/* Strings: `required` receives the size with terminator, in bytes. With too small a buffer (null and 0 are
 * fine) nothing else is written and the status is ORTQLORA_BUFFER_TOO_SMALL. */

/* The CPU path a kernel created now would use: "portable", "avx2", "avx512", "avx512_vnni" or "avx512_bf16";
 * fails as op creation would where the environment variable ORTQLORA_CPU names one this machine lacks. */
ORTQLORA_EXPORT int32_t ortqlora_cpu_path(char* buffer, int64_t capacity, int64_t* required, char* error,
                                          int64_t error_capacity);

/* Names of the ops of the domain, each once, separated by line feeds. */
ORTQLORA_EXPORT int32_t ortqlora_op_names(char* buffer, int64_t capacity, int64_t* required, char* error,
                                          int64_t error_capacity);

/* Packed copies of constant weights alive in this process, shared between kernels and sessions. Weights that
 * are read where they are (layout panel64) do not count. */
ORTQLORA_EXPORT int32_t ortqlora_packed_weights(int64_t* count, int64_t* bytes, char* error,
                                                int64_t error_capacity);

/* What this chip can do at best, measured now on `threads` threads at once (0: one a hardware thread), of the
 * instructions that the CPU path uses. `compute` is "fp32", "bf16", "int16" or "int8": the rate of the dot
 * instruction that products in that mode are built on, out of registers, in multiplications and additions a
 * second. 0 where the path has no such loop. Takes some milliseconds. */
ORTQLORA_EXPORT int32_t ortqlora_peak(const char* compute, int32_t threads, double* operations_per_second,
                                      char* error, int64_t error_capacity);

/* Likewise the rate of a plain read of `bytes` of memory that was just read, in bytes a second. */
ORTQLORA_EXPORT int32_t ortqlora_read_rate(int64_t bytes, int32_t threads, double* bytes_per_second,
                                           char* error, int64_t error_capacity);

/* The file with the CUDA kernels, which register themselves along with the others; fails, with the reason,
 * where there is none: then every op of this library runs on the CPU, and a session on CUDA would copy to and
 * fro. It is looked for beside this library, or where the environment variable ORTQLORA_CUDA_LIBRARY says. No
 * device is touched. */
ORTQLORA_EXPORT int32_t ortqlora_cuda_library(char* buffer, int64_t capacity, int64_t* required, char* error,
                                              int64_t error_capacity);

/* Names of the ops that have CUDA kernels, one a line; fails where there are none. */
ORTQLORA_EXPORT int32_t ortqlora_cuda_op_names(char* buffer, int64_t capacity, int64_t* required, char* error,
                                               int64_t error_capacity);

/* Name, compute capability, driver and runtime of the CUDA device `id`; fails where there is none, or no
 * kernels. */
ORTQLORA_EXPORT int32_t ortqlora_cuda_device(int32_t id, char* buffer, int64_t capacity, int64_t* required,
                                             char* error, int64_t error_capacity);

/* Packs an int8 weight of the logical size [k, n] into the layout that kernels read where it is: `target` is
 * "panel64" for the CPU's (which must start at a multiple of 64 bytes for that) or "tile64" for CUDA's.
 * `layout` names what `q` is in, "plain", "eetq_sm80", "tile64" or "panel64". `required` receives the size in
 * bytes; as with strings, too small a buffer (null and 0) is left alone. */
ORTQLORA_EXPORT int32_t ortqlora_pack_weight(const void* q, int64_t q_bytes, const char* layout, int64_t k,
                                             int64_t n, const char* target, uint8_t* buffer, int64_t capacity,
                                             int64_t* required, char* error, int64_t error_capacity);

/* Called by ONNX Runtime (RegisterCustomOpsLibrary). */
struct OrtSessionOptions;
struct OrtApiBase;
struct OrtStatus;
ORTQLORA_EXPORT struct OrtStatus* RegisterCustomOps(struct OrtSessionOptions* options,
                                                    const struct OrtApiBase* base);

#ifdef __cplusplus
}
#endif

#endif /* ORTQLORA_H_ */
