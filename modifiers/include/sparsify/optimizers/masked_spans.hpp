// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "sparsify/isa.hpp"
#include "sparsify/over_threads.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

#if defined(__x86_64__)
// The loop above with 8 elements at a time: compilers keep its root, which may set errno, out of vectors.
template <bool kMasked>
__attribute__((target("avx2,fma"))) void adamw_avx2(const MaskedSpan& span, std::int64_t begin,
                                                    std::int64_t end, const AdamWNumbers& n) {
  const auto shrink = _mm256_set1_ps(n.shrink), beta1 = _mm256_set1_ps(n.beta1),
             rest1 = _mm256_set1_ps(n.rest1), beta2 = _mm256_set1_ps(n.beta2),
             rest2 = _mm256_set1_ps(n.rest2), root_correction2 = _mm256_set1_ps(n.root_correction2),
             eps = _mm256_set1_ps(n.eps), step_size = _mm256_set1_ps(-n.step_size);
  std::int64_t i = begin;
  for (; i + 8 <= end; i += 8) {
    auto kept = _mm256_setzero_ps();
    if (kMasked) {
      const auto bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(span.keep + i));
      kept = _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_setzero_si256(), _mm256_cvtepu8_epi32(bytes)));
    }
    auto g = _mm256_loadu_ps(span.gradient + i), w = _mm256_mul_ps(_mm256_loadu_ps(span.weight + i), shrink);
    if (kMasked) g = _mm256_and_ps(g, kept);
    const auto mean = _mm256_fmadd_ps(g, rest1, _mm256_mul_ps(_mm256_loadu_ps(span.first + i), beta1));
    const auto square =
        _mm256_fmadd_ps(_mm256_mul_ps(rest2, g), g, _mm256_mul_ps(_mm256_loadu_ps(span.second + i), beta2));
    _mm256_storeu_ps(span.first + i, mean), _mm256_storeu_ps(span.second + i, square);
    const auto denominator = _mm256_add_ps(_mm256_div_ps(_mm256_sqrt_ps(square), root_correction2), eps);
    w = _mm256_add_ps(w, _mm256_div_ps(_mm256_mul_ps(step_size, mean), denominator));
    _mm256_storeu_ps(span.weight + i, kMasked ? _mm256_and_ps(w, kept) : w);
  }
  adamw_span<true, kMasked>(span, i, end, n);
}
#endif

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
#if defined(__x86_64__)
      if (best_isa() != Isa::kBaseline) return adamw_avx2<masked()>(span, begin, end, n);
#endif
      adamw_span<false, masked()>(span, begin, end, n);
    });
  });
}

}  // namespace detail
}  // namespace sparsify
