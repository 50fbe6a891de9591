// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>

#include "sparsify/isa.hpp"
#include "sparsify/over_threads.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// One pass over weight, gradient, state and mask, with the operations of LibTorch's optimizers in their
// order and with its fused multiply-adds, so that results are the same to the bit (on AVX2 and later;
// LibTorch has none of them below).

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
  float lr, momentum, undamped, weight_decay;  // undamped: 1 - dampening; 1 in the first step
};

enum class Momentum { kNone, kPlain, kNesterov };

struct AdamWNumbers {
  float shrink;  // 1 - lr * weight_decay
  float beta1, rest1, beta2, rest2, root_correction2, eps, step_size;
};

template <bool kMasked, Momentum kMomentum>
void sgd_plain(const MaskedSpan& span, std::int64_t begin, std::int64_t end, const SGDNumbers& n) {
  for (std::int64_t i = begin; i < end; ++i) {
    float w = span.weight[i];
    float change = std::fma(w, n.weight_decay, !kMasked || span.keep[i] ? span.gradient[i] : 0.0F);
    if (kMomentum != Momentum::kNone) {
      const float slowed = span.first[i] * n.momentum, velocity = std::fma(change, n.undamped, slowed);
      span.first[i] = velocity;
      change = kMomentum == Momentum::kNesterov ? std::fma(velocity, n.momentum, change) : velocity;
    }
    w = std::fma(change, -n.lr, w);
    span.weight[i] = !kMasked || span.keep[i] ? w : 0;
  }
}

template <bool kMasked>
void adamw_plain(const MaskedSpan& span, std::int64_t begin, std::int64_t end, const AdamWNumbers& n) {
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = !kMasked || span.keep[i] ? span.gradient[i] : 0;
    const float mean = std::fma(g, n.rest1, span.first[i] * n.beta1);
    const float square = std::fma(n.rest2 * g, g, span.second[i] * n.beta2);
    span.first[i] = mean, span.second[i] = square;
    const volatile float shrunk = span.weight[i] * n.shrink;  // rounded before the addition, as LibTorch does
    const float w = shrunk + -n.step_size * mean / (std::sqrt(square) / n.root_correction2 + n.eps);
    span.weight[i] = !kMasked || span.keep[i] ? w : 0;
  }
}

#if defined(__x86_64__)

// Eight mask bytes as eight words of all ones or zeros.
__attribute__((target("avx2"), always_inline)) inline __m256 wide_mask(const bool* keep) {
  const auto words = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(keep)));
  return _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_setzero_si256(), words));
}

template <bool kMasked, Momentum kMomentum>
__attribute__((target("avx2,fma"))) void sgd_avx2(const MaskedSpan& span, std::int64_t begin,
                                                  std::int64_t end, const SGDNumbers& n) {
  const auto lr = _mm256_set1_ps(-n.lr), decay = _mm256_set1_ps(n.weight_decay);
  const auto momentum = _mm256_set1_ps(n.momentum), undamped = _mm256_set1_ps(n.undamped);
  std::int64_t i = begin;
  for (; i + 8 <= end; i += 8) {
    const auto keep = kMasked ? wide_mask(span.keep + i) : _mm256_setzero_ps();
    auto w = _mm256_loadu_ps(span.weight + i), change = _mm256_loadu_ps(span.gradient + i);
    if (kMasked) change = _mm256_and_ps(change, keep);
    change = _mm256_fmadd_ps(w, decay, change);
    if (kMomentum != Momentum::kNone) {
      const auto slowed = _mm256_mul_ps(_mm256_loadu_ps(span.first + i), momentum);
      const auto velocity = _mm256_fmadd_ps(change, undamped, slowed);
      _mm256_storeu_ps(span.first + i, velocity);
      change = kMomentum == Momentum::kNesterov ? _mm256_fmadd_ps(velocity, momentum, change) : velocity;
    }
    w = _mm256_fmadd_ps(change, lr, w);
    _mm256_storeu_ps(span.weight + i, kMasked ? _mm256_and_ps(w, keep) : w);
  }
  sgd_plain<kMasked, kMomentum>(span, i, end, n);
}

template <bool kMasked>
__attribute__((target("avx2,fma"))) void adamw_avx2(const MaskedSpan& span, std::int64_t begin,
                                                    std::int64_t end, const AdamWNumbers& n) {
  const auto beta1 = _mm256_set1_ps(n.beta1), rest1 = _mm256_set1_ps(n.rest1);
  const auto beta2 = _mm256_set1_ps(n.beta2), rest2 = _mm256_set1_ps(n.rest2);
  const auto shrink = _mm256_set1_ps(n.shrink), step = _mm256_set1_ps(-n.step_size);
  const auto correction = _mm256_set1_ps(n.root_correction2), eps = _mm256_set1_ps(n.eps);
  std::int64_t i = begin;
  for (; i + 8 <= end; i += 8) {
    const auto keep = kMasked ? wide_mask(span.keep + i) : _mm256_setzero_ps();
    auto g = _mm256_loadu_ps(span.gradient + i);
    if (kMasked) g = _mm256_and_ps(g, keep);
    const auto mean = _mm256_fmadd_ps(g, rest1, _mm256_mul_ps(_mm256_loadu_ps(span.first + i), beta1));
    const auto square =
        _mm256_fmadd_ps(_mm256_mul_ps(rest2, g), g, _mm256_mul_ps(_mm256_loadu_ps(span.second + i), beta2));
    _mm256_storeu_ps(span.first + i, mean);
    _mm256_storeu_ps(span.second + i, square);
    const auto denominator = _mm256_add_ps(_mm256_div_ps(_mm256_sqrt_ps(square), correction), eps);
    const auto change = _mm256_div_ps(_mm256_mul_ps(step, mean), denominator);
    auto w = _mm256_mul_ps(_mm256_loadu_ps(span.weight + i), shrink);
    __asm__("" : "+x"(w));  // rounded before the addition, as LibTorch does
    w = _mm256_add_ps(w, change);
    _mm256_storeu_ps(span.weight + i, kMasked ? _mm256_and_ps(w, keep) : w);
  }
  adamw_plain<kMasked>(span, i, end, n);
}

#endif

template <bool kMasked, Momentum kMomentum>
void sgd_best(const MaskedSpan& span, std::int64_t begin, std::int64_t end, const SGDNumbers& n) {
#if defined(__x86_64__)
  if (best_isa() != Isa::kBaseline) return sgd_avx2<kMasked, kMomentum>(span, begin, end, n);
#endif
  sgd_plain<kMasked, kMomentum>(span, begin, end, n);
}

template <bool kMasked>
void adamw_best(const MaskedSpan& span, std::int64_t begin, std::int64_t end, const AdamWNumbers& n) {
#if defined(__x86_64__)
  if (best_isa() != Isa::kBaseline) return adamw_avx2<kMasked>(span, begin, end, n);
#endif
  adamw_plain<kMasked>(span, begin, end, n);
}

template <Momentum kMomentum>
void step_sgd(const MaskedSpan& span, const SGDNumbers& n) {
  over_threads(span.count, [&](std::int64_t begin, std::int64_t end) {
    span.keep ? sgd_best<true, kMomentum>(span, begin, end, n)
              : sgd_best<false, kMomentum>(span, begin, end, n);
  });
}

inline void step_adamw(const MaskedSpan& span, const AdamWNumbers& n) {
  over_threads(span.count, [&](std::int64_t begin, std::int64_t end) {
    span.keep ? adamw_best<true>(span, begin, end, n) : adamw_best<false>(span, begin, end, n);
  });
}

}  // namespace detail
}  // namespace sparsify
