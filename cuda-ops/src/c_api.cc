#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "common/cpu_path.h"
#include "common/error.h"
#include "common/peak.h"
#include "common/thread_pool.h"
#include "cuda_library.h"
#include "ops/matmul_int8/weight_registry.h"
#include "ortqlora.h"
#include "register.h"

namespace ortqlora {
namespace {

void WriteMessage(const char* message, char* error, int64_t capacity) {
  if (error == nullptr || capacity <= 0) return;
  const size_t size = std::min(std::strlen(message), static_cast<size_t>(capacity - 1));
  std::memcpy(error, message, size);
  error[size] = '\0';
}

template <typename Body>
int32_t Guard(char* error, int64_t error_capacity, const Body& body) noexcept {
  try {
    WriteMessage("", error, error_capacity);
    return body();
  } catch (const Error& failure) {
    WriteMessage(failure.what(), error, error_capacity);
    return ORTQLORA_INVALID_ARGUMENT;
  } catch (const std::exception& failure) {
    WriteMessage(failure.what(), error, error_capacity);
  } catch (...) {
    WriteMessage("unknown exception", error, error_capacity);
  }
  return ORTQLORA_FAILED;
}

int32_t CopyOut(const std::string& text, char* buffer, int64_t capacity, int64_t* required) {
  const auto size = static_cast<int64_t>(text.size()) + 1;
  if (required != nullptr) *required = size;
  if (buffer == nullptr || capacity < size) return ORTQLORA_BUFFER_TOO_SMALL;
  std::memcpy(buffer, text.c_str(), static_cast<size_t>(size));
  return ORTQLORA_OK;
}

// Names of the operators, one a line. Variants of an operator stand side by side.
std::string NamesOf(OpEntry* const* ops, size_t count) {
  std::string names, last;
  for (size_t i = 0; i < count; ++i) {
    if (ops[i]->name == last) continue;
    last = ops[i]->name;
    names += (names.empty() ? "" : "\n") + last;
  }
  return names;
}

// 0 stands for one a hardware thread.
int ThreadCount(int32_t threads) {
  constexpr int32_t kMost = 4096;
  if (threads < 0 || threads > kMost) Fail("threads is ", threads, ", expected 0 to ", kMost, ".");
  const auto available = static_cast<int>(std::thread::hardware_concurrency());
  return threads != 0 ? threads : std::max(available, 1);
}

}  // namespace
}  // namespace ortqlora

int32_t ortqlora_abi_version(int32_t* version, char* error, int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    if (version == nullptr) ortqlora::Fail("version must not be null.");
    *version = ORTQLORA_ABI_VERSION;
    return ORTQLORA_OK;
  });
}

int32_t ortqlora_cpu_path(char* buffer, int64_t capacity, int64_t* required, char* error,
                          int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    return ortqlora::CopyOut(ortqlora::CpuPathName(ortqlora::SelectCpuPath()), buffer, capacity, required);
  });
}

int32_t ortqlora_op_names(char* buffer, int64_t capacity, int64_t* required, char* error,
                          int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    const std::vector<ortqlora::OpEntry*>& ops = ortqlora::Ops();
    return ortqlora::CopyOut(ortqlora::NamesOf(ops.data(), ops.size()), buffer, capacity, required);
  });
}

int32_t ortqlora_packed_weights(int64_t* count, int64_t* bytes, char* error, int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    if (count == nullptr || bytes == nullptr) ortqlora::Fail("count and bytes must not be null.");
    const ortqlora::PackedWeightUsage usage = ortqlora::SharedPackedWeightUsage();
    *count = usage.count;
    *bytes = usage.bytes;
    return ORTQLORA_OK;
  });
}

int32_t ortqlora_peak(const char* compute, int32_t threads, double* operations_per_second, char* error,
                      int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    if (compute == nullptr || operations_per_second == nullptr) {
      ortqlora::Fail("compute and operations_per_second must not be null.");
    }
    const int count = ortqlora::ThreadCount(threads);
    ortqlora::ThreadPool pool(count);
    *operations_per_second = ortqlora::PeakOperationsPerSecond(ortqlora::SelectCpuPath(),
                                                               ortqlora::ParseCompute(compute), pool, count);
    return ORTQLORA_OK;
  });
}

int32_t ortqlora_read_rate(int64_t bytes, int32_t threads, double* bytes_per_second, char* error,
                           int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    if (bytes < 0 || bytes_per_second == nullptr) {
      ortqlora::Fail("bytes is ", bytes, ", expected 0 or more; bytes_per_second must not be null.");
    }
    const int count = ortqlora::ThreadCount(threads);
    ortqlora::ThreadPool pool(count);
    *bytes_per_second =
        ortqlora::ReadBytesPerSecond(ortqlora::SelectCpuPath(), static_cast<size_t>(bytes), pool, count);
    return ORTQLORA_OK;
  });
}

int32_t ortqlora_cuda_library(char* buffer, int64_t capacity, int64_t* required, char* error,
                              int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    const ortqlora::CudaLibrary& library = ortqlora::CudaLibrary::Get();
    if (library.entries == nullptr) ortqlora::Fail(library.reason);
    return ortqlora::CopyOut(library.path, buffer, capacity, required);
  });
}

int32_t ortqlora_cuda_op_names(char* buffer, int64_t capacity, int64_t* required, char* error,
                               int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    const ortqlora::CudaLibrary& library = ortqlora::CudaLibrary::Get();
    if (library.entries == nullptr) ortqlora::Fail(library.reason);
    return ortqlora::CopyOut(ortqlora::NamesOf(library.entries->ops, library.entries->count), buffer,
                             capacity, required);
  });
}

int32_t ortqlora_cuda_device(int32_t id, char* buffer, int64_t capacity, int64_t* required, char* error,
                             int64_t error_capacity) {
  return ortqlora::Guard(error, error_capacity, [&] {
    const ortqlora::CudaLibrary& library = ortqlora::CudaLibrary::Get();
    if (library.entries == nullptr) ortqlora::Fail(library.reason);
    char text[1024];
    if (library.entries->describe_device(id, text, sizeof text) != ORTQLORA_OK) ortqlora::Fail(text);
    return ortqlora::CopyOut(text, buffer, capacity, required);
  });
}

int32_t ortqlora_pack_weight(const void* q, int64_t q_bytes, const char* layout, int64_t k, int64_t n,
                             const char* target, uint8_t* buffer, int64_t capacity, int64_t* required,
                             char* error, int64_t error_capacity) {
  using ortqlora::WeightLayout, ortqlora::WeightSource;
  return ortqlora::Guard(error, error_capacity, [&] {
    if (layout == nullptr || target == nullptr) ortqlora::Fail("layout and target must not be null.");
    const WeightSource source{q, ortqlora::ParseLayout(layout), k, n};
    const WeightLayout to = ortqlora::ParseLayout(target);
    if (to != WeightLayout::kTile64 && to != WeightLayout::kPanel64) {
      ortqlora::Fail("target is '", target, "', expected 'tile64' or 'panel64'.");
    }
    const int64_t size = WeightSource{nullptr, to, k, n}.size();
    if (required != nullptr) *required = size;
    if (buffer == nullptr || capacity < size) return ORTQLORA_BUFFER_TOO_SMALL;
    if (q_bytes != source.size() || (q == nullptr && q_bytes != 0)) {
      ortqlora::Fail("a weight of K = ", k, ", N = ", n, " in layout '", layout, "' has ", source.size(),
                     " bytes; given: ", q_bytes, ".");
    }
    (to == WeightLayout::kTile64 ? ortqlora::PackTile64 : ortqlora::PackPanel64)(source, buffer);
    return ORTQLORA_OK;
  });
}
