// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "sparsify/isa.hpp"
#include "sparsify/over_threads.hpp"

// One pass over weight, gradient, state and mask, with the operations of LibTorch's optimizers in their
// order, so that results are the same to the bit where LibTorch uses fused multiply-adds (AVX2 and later).

namespace sparsify {
namespace detail {

/// A parameter of an optimizer: buffers of `count` elements in one memory order. `keep` may be null.
struct MaskedSpan {
  float* weight;
  const float* gradient;
  const bool* keep;
  float* first;   ///< momentum, or first moment
  float* second;  ///< second moment
  std::int64_t count;
};

struct SGDNumbers {
  float lr, momentum, undamped, weight_decay;  // undamped: 1 - dampening
  bool nesterov, first_step;
};

struct AdamWNumbers {
  float shrink;  // 1 - lr * weight_decay
  float beta1, rest1, beta2, rest2, root_correction2, eps, step_size;
};

inline __attribute__((always_inline)) float masked(float value, const bool* keep, std::int64_t i) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= -static_cast<std::uint32_t>(keep[i]);  // clears a NaN too
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

template <bool kFused>
inline __attribute__((always_inline)) float multiply_add(float a, float b, float c) {
  return kFused ? __builtin_fmaf(a, b, c) : a * b + c;
}

template <bool kFused, bool kMasked, bool kMomentum>
inline __attribute__((always_inline)) void sgd_span(const MaskedSpan& span, std::int64_t begin,
                                                    std::int64_t end, const SGDNumbers& n) {
  auto* __restrict weight = span.weight;
  auto* __restrict buffer = span.first;
  const auto* __restrict gradient = span.gradient;
  const auto* __restrict keep = span.keep;
  const float lr = -n.lr, momentum = n.momentum, undamped = n.undamped, decay = n.weight_decay;
  const bool nesterov = n.nesterov, first_step = n.first_step, decays = decay != 0;
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) {
    float w = weight[i], change = gradient[i];
    if (kMasked) change = masked(change, keep, i);
    change = decays ? multiply_add<kFused>(w, decay, change) : change;
    if (kMomentum) {
      const float moved = multiply_add<kFused>(change, undamped, buffer[i] * momentum);
      const float velocity = first_step ? change : moved;
      buffer[i] = velocity;
      change = nesterov ? multiply_add<kFused>(velocity, momentum, change) : velocity;
    }
    w = multiply_add<kFused>(change, lr, w);
    weight[i] = kMasked ? masked(w, keep, i) : w;
  }
}

template <bool kFused, bool kMasked>
inline __attribute__((always_inline)) void adamw_span(const MaskedSpan& span, std::int64_t begin,
                                                      std::int64_t end, const AdamWNumbers& n) {
  auto* __restrict weight = span.weight;
  auto* __restrict first = span.first;
  auto* __restrict second = span.second;
  const auto* __restrict gradient = span.gradient;
  const auto* __restrict keep = span.keep;
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) {
    float g = gradient[i], w = weight[i] * n.shrink;
    if (kMasked) g = masked(g, keep, i);
    const float mean = multiply_add<kFused>(g, n.rest1, first[i] * n.beta1);
    const float square = multiply_add<kFused>(n.rest2 * g, g, second[i] * n.beta2);
    first[i] = mean, second[i] = square;
    const float denominator = __builtin_sqrtf(square) / n.root_correction2 + n.eps;
    w = w + -n.step_size * mean / denominator;
    weight[i] = kMasked ? masked(w, keep, i) : w;
  }
}

/// Runs `body(fused)`, with fused multiply-adds where the machine has them; the argument is a constant type.
template <class Body>
void with_best_arithmetic(const Body& body) {
#if defined(__x86_64__)
  if (best_isa() != Isa::kBaseline)
    return run_avx2([&]() __attribute__((always_inline)) { body(std::true_type{}); });
#endif
  body(std::false_type{});
}

inline void step_sgd(const MaskedSpan& span, const SGDNumbers& n) {
  over_threads(span.count, [&](std::int64_t begin, std::int64_t end) {
    with_best_arithmetic([&](auto fused) __attribute__((always_inline)) {
      constexpr bool kFused = decltype(fused)::value;
      const bool masked = span.keep != nullptr;
      if (masked && span.first) return sgd_span<kFused, true, true>(span, begin, end, n);
      if (masked) return sgd_span<kFused, true, false>(span, begin, end, n);
      if (span.first) return sgd_span<kFused, false, true>(span, begin, end, n);
      sgd_span<kFused, false, false>(span, begin, end, n);
    });
  });
}

inline void step_adamw(const MaskedSpan& span, const AdamWNumbers& n) {
  over_threads(span.count, [&](std::int64_t begin, std::int64_t end) {
    with_best_arithmetic([&](auto fused) __attribute__((always_inline)) {
      constexpr bool kFused = decltype(fused)::value;
      if (span.keep != nullptr) return adamw_span<kFused, true>(span, begin, end, n);
      adamw_span<kFused, false>(span, begin, end, n);
    });
  });
}

}  // namespace detail
}  // namespace sparsify
