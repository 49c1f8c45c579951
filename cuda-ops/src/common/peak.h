#pragma once

#include <cstddef>

#include "common/cpu_path.h"
#include "common/parallel.h"
#include "ops/matmul_int8/gemm.h"

namespace ortqlora {

// Best rate of the dot instruction a compute mode is built on, out of registers, all threads at once, in
// multiplications and additions per second. 0 where the path has no such loop (portable).
double PeakOperationsPerSecond(CpuPath path, Compute compute, Parallel& parallel, int threads);

// Bytes per second of a plain read of `bytes` of memory that was just read, each thread its share. 0
// likewise.
double ReadBytesPerSecond(CpuPath path, size_t bytes, Parallel& parallel, int threads);

}  // namespace ortqlora
