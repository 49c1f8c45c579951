# The CUDA kernels, as a second library beside the first, which loads it at run time: so that the first loads on
# machines without CUDA. Linked with the static CUDA runtime, it needs no CUDA libraries but the driver.
set(ORTQLORA_HAS_CUDA OFF)
if(ORTQLORA_SANITIZE)
  message(STATUS "CUDA kernels: left out of sanitized builds.")
elseif(NOT ORTQLORA_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    # Targets are named per file below.
    set(CMAKE_CUDA_ARCHITECTURES OFF)
    enable_language(CUDA)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0)
      message(STATUS "CUDA kernels: left out, as CUDA ${CMAKE_CUDA_COMPILER_VERSION} is older than 12.0.")
    else()
      set(ORTQLORA_HAS_CUDA ON)
      message(STATUS "CUDA kernels: built with ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION} for sm_80 to sm_90a.")
    endif()
  else()
    message(STATUS "CUDA kernels: left out, as no CUDA compiler was found (nvcc on the path, CUDACXX, or -DCMAKE_CUDA_COMPILER).")
  endif()
endif()
if(NOT ORTQLORA_HAS_CUDA)
  if(ORTQLORA_CUDA STREQUAL "ON")
    message(FATAL_ERROR "ORTQLORA_CUDA is ON, but the CUDA kernels cannot be built; see above.")
  endif()
  return()
endif()

set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)

# Kernels and their launchers, without ONNX Runtime types. *_sm90*.cu hold kernels for wgmma and run on compute
# capability 9.0 alone; everything else is machine code for 8.0 (which 8.6 and 8.9 run too) and 9.0, and PTX for what
# comes later.
file(GLOB_RECURSE ortqlora_cuda_kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ops/*.cu
  ${CMAKE_CURRENT_SOURCE_DIR}/src/*.cu)
set(_hopper ${ortqlora_cuda_kernels})
list(FILTER _hopper INCLUDE REGEX "_sm90[a-z_]*\\.cu$")
set(_common ${ortqlora_cuda_kernels})
list(FILTER _common EXCLUDE REGEX "_sm90[a-z_]*\\.cu$")
set_source_files_properties(${_hopper} PROPERTIES COMPILE_OPTIONS "--generate-code=arch=compute_90a,code=sm_90a")
set_source_files_properties(${_common} PROPERTIES COMPILE_OPTIONS
  "--generate-code=arch=compute_80,code=[sm_80,compute_80];--generate-code=arch=compute_90,code=sm_90")

add_library(ortqlora_cuda_core STATIC
  ${ortqlora_cuda_kernels}
  src/common/cuda/cublas.cc
  src/common/cuda/device.cc
  src/common/cuda/tensor_map.cc
  ops/attention/cuda/attention_cuda.cc
  ops/cross_entropy/cross_entropy_cuda.cc
  ops/lora_linear/cuda/lora_linear_cuda.cc
  ops/matmul_int8/cuda/gemm_cuda.cc)
target_include_directories(ortqlora_cuda_core SYSTEM PUBLIC ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
target_link_libraries(ortqlora_cuda_core PUBLIC ortqlora_core ${CMAKE_DL_LIBS})
target_compile_options(ortqlora_cuda_core PRIVATE
  "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-Werror=all-warnings;-Xcompiler=-Wall,-Wextra>")

add_library(ortqlora_ops_cuda SHARED
  src/register_cuda.cc
  src/common/ort_kernel.cc
  src/common/ort_tensor.cc
  src/common/shape_check.cc
  ops/adamw/adamw_cuda_op.cc
  ops/attention/attention_attributes.cc
  ops/attention/attention_cuda_op.cc
  ops/cross_entropy/cross_entropy_cuda_op.cc
  ops/dequantize_int8/dequantize_int8_cuda_op.cc
  ops/gelu/gelu_cuda_op.cc
  ops/lora_linear/lora_linear_cuda_op.cc
  ops/matmul_int8/cuda/device_quantized_weight.cc
  ops/matmul_int8/matmul_int8_cuda_op.cc
  ops/matmul_int8/quantized_weight.cc
  ops/normalization/normalization_cuda_op.cc
  ops/rotary/rotary_cuda_op.cc
  ops/swiglu/swiglu_cuda_op.cc)
target_include_directories(ortqlora_ops_cuda PRIVATE include)
target_include_directories(ortqlora_ops_cuda SYSTEM PRIVATE ${ORTQLORA_ORT_INCLUDE_DIR})
target_link_libraries(ortqlora_ops_cuda PRIVATE ortqlora_cuda_core)
ortqlora_shared_library(ortqlora_ops_cuda)
add_dependencies(ortqlora_libraries ortqlora_ops_cuda)
