// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

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

/// What is decided once for all elements: a loop with choices in it is not vectorised.
template <bool kMasked_, bool kDecays_, bool kMomentum_, bool kNesterov_, bool kFirstStep_>
struct SGDKind {
  static constexpr bool kMasked = kMasked_, kDecays = kDecays_, kMomentum = kMomentum_,
                        kNesterov = kNesterov_, kFirstStep = kFirstStep_;
};

template <bool kFused, class Kind>
inline __attribute__((always_inline)) void sgd_span(const MaskedSpan& span, std::int64_t begin,
                                                    std::int64_t end, const SGDNumbers& n) {
  auto* __restrict weight = span.weight;
  auto* __restrict buffer = span.first;
  const auto* __restrict gradient = span.gradient;
  const auto* __restrict keep = span.keep;
  const float lr = -n.lr, momentum = n.momentum, undamped = n.undamped, decay = n.weight_decay;
#pragma omp simd
  for (std::int64_t i = begin; i < end; ++i) {
    float w = weight[i], change = gradient[i];
    if constexpr (Kind::kMasked) change = masked(change, keep, i);
    if constexpr (Kind::kDecays) change = multiply_add<kFused>(w, decay, change);
    if constexpr (Kind::kMomentum) {
      float velocity = change;
      if constexpr (!Kind::kFirstStep)
        velocity = multiply_add<kFused>(change, undamped, buffer[i] * momentum);
      buffer[i] = velocity;
      change = Kind::kNesterov ? multiply_add<kFused>(velocity, momentum, change) : velocity;
    }
    w = multiply_add<kFused>(change, lr, w);
    weight[i] = Kind::kMasked ? masked(w, keep, i) : w;
  }
}

using FourFloats __attribute__((vector_size(16))) = float;

// Compilers keep a root that may set errno out of vectors.
inline __attribute__((always_inline)) FourFloats root(FourFloats values) {
#if __has_builtin(__builtin_elementwise_sqrt)
  return __builtin_elementwise_sqrt(values);
#elif __has_builtin(__builtin_ia32_sqrtps)
  return __builtin_ia32_sqrtps(values);
#else
  for (int i = 0; i < 4; ++i) values[i] = __builtin_sqrtf(values[i]);
  return values;
#endif
}

template <bool kFused, bool kMasked>
inline __attribute__((always_inline)) void adamw_span(const MaskedSpan& span, std::int64_t begin,
                                                      std::int64_t end, const AdamWNumbers& n) {
  constexpr std::int64_t kBlock = 64;
  alignas(FourFloats) float roots[kBlock] = {};
  for (std::int64_t start = begin; start < end; start += kBlock) {
    auto* __restrict weight = span.weight + start;
    auto* __restrict first = span.first + start;
    auto* __restrict second = span.second + start;
    const auto* __restrict gradient = span.gradient + start;
    const auto* __restrict keep = span.keep + (kMasked ? start : 0);
    const std::int64_t count = std::min(kBlock, end - start);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
      const float g = kMasked ? masked(gradient[i], keep, i) : gradient[i];
      weight[i] *= n.shrink;  // here, or compilers would fuse it with the sum below
      first[i] = multiply_add<kFused>(g, n.rest1, first[i] * n.beta1);
      roots[i] = second[i] = multiply_add<kFused>(n.rest2 * g, g, second[i] * n.beta2);
    }
    for (auto* four = roots; four < roots + kBlock; four += 4) {
      FourFloats values;
      std::memcpy(&values, four, sizeof values);
      values = root(values);
      std::memcpy(four, &values, sizeof values);
    }
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
      const float denominator = roots[i] / n.root_correction2 + n.eps;
      const float w = weight[i] + -n.step_size * first[i] / denominator;
      weight[i] = kMasked ? masked(w, keep, i) : w;
    }
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

/// Calls `run` with the value as a constant type.
template <class Run>
void with_constant(bool value, const Run& run) {
  value ? run(std::true_type{}) : run(std::false_type{});
}

template <class Run>
void with_kind(const MaskedSpan& span, const SGDNumbers& n, const Run& run) {
  with_constant(span.keep != nullptr, [&](auto masked) {
    with_constant(n.weight_decay != 0, [&](auto decays) {
      if (!span.first) return run(SGDKind<masked(), decays(), false, false, false>{});
      with_constant(n.nesterov, [&](auto nesterov) {
        with_constant(n.first_step, [&](auto first_step) {
          run(SGDKind<masked(), decays(), true, nesterov(), first_step()>{});
        });
      });
    });
  });
}

inline void step_sgd(const MaskedSpan& span, const SGDNumbers& n) {
  with_kind(span, n, [&](auto kind) {
    over_threads(span.count, [&](std::int64_t begin, std::int64_t end) {
      with_best_arithmetic([&](auto fused) __attribute__((always_inline)) {
        sgd_span<fused(), decltype(kind)>(span, begin, end, n);
      });
    });
  });
}

inline void step_adamw(const MaskedSpan& span, const AdamWNumbers& n) {
  with_constant(span.keep != nullptr, [&](auto masked) {
    over_threads(span.count, [&](std::int64_t begin, std::int64_t end) {
      with_best_arithmetic([&](auto fused) __attribute__((always_inline)) {
        adamw_span<fused(), masked()>(span, begin, end, n);
      });
    });
  });
}

}  // namespace detail
}  // namespace sparsify
