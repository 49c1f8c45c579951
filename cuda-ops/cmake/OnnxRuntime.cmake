# Finds ONNX Runtime's C headers and, for the session tests, its library: as given, or in the newest NuGet
# package of this user.
set(_root "$ENV{NUGET_PACKAGES}")
if(NOT _root AND DEFINED ENV{HOME})
  set(_root "$ENV{HOME}/.nuget/packages")
elseif(NOT _root)
  set(_root "$ENV{USERPROFILE}/.nuget/packages")
endif()
file(GLOB _packages "${_root}/microsoft.ml.onnxruntime/*")
list(SORT _packages COMPARE NATURAL ORDER DESCENDING)
foreach(_package IN LISTS _packages)
  if(NOT ORTQLORA_ORT_INCLUDE_DIR AND EXISTS "${_package}/build/native/include/onnxruntime_c_api.h")
    set(ORTQLORA_ORT_INCLUDE_DIR "${_package}/build/native/include")
  endif()
  file(GLOB _library "${_package}/runtimes/linux-x64/native/libonnxruntime.so")
  if(NOT ORTQLORA_ORT_LIBRARY AND _library)
    set(ORTQLORA_ORT_LIBRARY "${_library}")
  endif()
endforeach()

if(NOT EXISTS "${ORTQLORA_ORT_INCLUDE_DIR}/onnxruntime_c_api.h")
  message(FATAL_ERROR "onnxruntime_c_api.h not found in '${ORTQLORA_ORT_INCLUDE_DIR}'. Restore the NuGet package "
                      "Microsoft.ML.OnnxRuntime or set -DORTQLORA_ORT_INCLUDE_DIR=<its build/native/include>.")
endif()
