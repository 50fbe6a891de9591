# What our own targets are built with. Nothing here reaches users: every property is PRIVATE or on our own targets.

add_library(sparsify_development INTERFACE)
if(PROJECT_IS_TOP_LEVEL)
  target_compile_options(sparsify_development INTERFACE -Wall -Wextra -Werror -Wno-unknown-pragmas
    $<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>   # unoptimised and sanitized loops are not vectorised
    $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)   # takes sources that are compiled together for headers
endif()
if(SPARSIFY_SANITIZE)
  target_compile_options(sparsify_development INTERFACE
    -fsanitize=${SPARSIFY_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)   # sees default arguments of sanitized calls as uninitialised
  target_link_options(sparsify_development INTERFACE -fsanitize=${SPARSIFY_SANITIZE})
endif()

if(SPARSIFY_PCH)
  file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cpp "")
  add_library(sparsify_torch_pch STATIC ${PROJECT_BINARY_DIR}/torch_pch.cpp)
  target_precompile_headers(sparsify_torch_pch PRIVATE <torch/torch.h>)
endif()

# Makes `target` one of ours: C++20, warnings as errors, sanitizers, OpenMP, and (with TORCH_PCH) the shared precompiled header.
function(sparsify_own target)
  cmake_parse_arguments(ARG "TORCH_PCH" "" "" ${ARGN})
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  # The same flag for libraries and programs (CMake would give programs -fPIE): they share one precompiled header.
  target_compile_options(${target} PRIVATE -fPIC)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:sparsify_development> torch OpenMP::OpenMP_CXX)
  if(ARG_TORCH_PCH AND SPARSIFY_PCH)
    target_precompile_headers(${target} REUSE_FROM sparsify_torch_pch)
  endif()
endfunction()

if(TARGET sparsify_torch_pch)
  sparsify_own(sparsify_torch_pch)
endif()
