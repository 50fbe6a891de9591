// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sparsify {
namespace detail {

/// The instruction sets our loops are written for; ordered.
enum class Isa { kBaseline, kAvx2, kAvx512 };

inline Isa detect_isa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return Isa::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

/// What this machine has.
inline Isa best_isa() {
  static const Isa isa = detect_isa();
  return isa;
}

}  // namespace detail
}  // namespace sparsify
