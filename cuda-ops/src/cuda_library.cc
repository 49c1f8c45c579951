#include "cuda_library.h"

#include <cstdlib>
#include <filesystem>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#include "common/error.h"

namespace ortqlora {
namespace {

constexpr const char* kVariable = "ORTQLORA_CUDA_LIBRARY";

#if defined(_WIN32)
constexpr const char* kFileName = "ortqlora_ops_cuda.dll";
#else
constexpr const char* kFileName = "libortqlora_ops_cuda.so";
#endif

const int kAnchor = 0;  // an address within this library

#if defined(_WIN32)
std::filesystem::path OwnFile() {
  HMODULE module = nullptr;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                     reinterpret_cast<LPCWSTR>(&kAnchor), &module);
  wchar_t name[32768];
  GetModuleFileNameW(module, name, static_cast<DWORD>(std::size(name)));
  return name;
}

// The address of the entry point, or null and why.
void* LoadSymbol(const std::filesystem::path& file, std::string& reason) {
  HMODULE library = LoadLibraryW(file.c_str());
  if (library == nullptr) reason = Concat("error ", static_cast<int64_t>(GetLastError()));
  return library == nullptr ? nullptr : reinterpret_cast<void*>(GetProcAddress(library, kCudaEntriesSymbol));
}
#else
std::filesystem::path OwnFile() {
  Dl_info info{};
  return dladdr(&kAnchor, &info) != 0 && info.dli_fname != nullptr ? info.dli_fname : "";
}

void* LoadSymbol(const std::filesystem::path& file, std::string& reason) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* symbol = library == nullptr ? nullptr : dlsym(library, kCudaEntriesSymbol);
  if (symbol == nullptr) reason = dlerror();
  return symbol;
}
#endif

CudaLibrary Find() {
  CudaLibrary found;
  const char* named = std::getenv(kVariable);
  const bool by_name = named != nullptr && *named != '\0';
  const std::filesystem::path file =
      by_name ? std::filesystem::path(named) : OwnFile().replace_filename(kFileName);
  found.path = file.string();
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    found.reason = Concat(
        "the CUDA kernels' library '", found.path, "' is not there",
        by_name ? Concat(" (", kVariable, " names it).")
                : Concat("; build cuda-ops with the CUDA toolkit on the path, or set ", kVariable, "."));
    return found;
  }
  std::string reason;
  const auto function = reinterpret_cast<CudaEntriesFunction>(LoadSymbol(file, reason));
  if (function == nullptr) {
    found.reason = Concat("the CUDA kernels' library '", found.path, "' cannot be loaded: ", reason);
    return found;
  }
  const CudaEntries* entries = function();
  if (entries->abi_version != ORTQLORA_ABI_VERSION || entries->op_entry_size != sizeof(OpEntry)) {
    found.reason =
        Concat("the CUDA kernels' library '", found.path, "' has interface version ", entries->abi_version,
               ", this one ", ORTQLORA_ABI_VERSION, "; build both from the same source.");
    return found;
  }
  found.entries = entries;
  return found;
}

}  // namespace

const CudaLibrary& CudaLibrary::Get() {
  static const CudaLibrary library = Find();
  return library;
}

}  // namespace ortqlora
