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

#if defined(__x86_64__)
template <class Body>
__attribute__((target("avx2,fma"))) void run_avx2(const Body& body) {
  body();
}
#endif

/// Runs a plain loop with as many registers as the machine has, up to AVX2: written as a lambda that is
/// always_inline, it takes the instruction set of its caller.
template <class Body>
void run_best(const Body& body) {
#if defined(__x86_64__)
  if (best_isa() != Isa::kBaseline) return run_avx2(body);
#endif
  body();
}

}  // namespace detail
}  // namespace sparsify
