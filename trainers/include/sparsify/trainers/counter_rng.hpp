// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sparsify::trainers {

/// A stream of random numbers that depends on nothing but its key, so that a sample's augmentation is the
/// same whichever thread makes it and in whatever order. SplitMix64 (Steele, Lea, Flood 2014) over key +
/// counter.
class CounterRng {
 public:
  explicit CounterRng(uint64_t seed, uint64_t epoch = 0, uint64_t index = 0)
      : key_(mix(mix(mix(seed + kGolden) ^ epoch) + kGolden * (index + 1))) {}

  /// 64 uniform bits.
  uint64_t next() { return mix(key_ + kGolden * ++counter_); }
  /// Uniform in [0, 1), a multiple of 2^-24, exact in float.
  float uniform() { return static_cast<float>(next() >> 40) * 0x1p-24F; }
  /// Uniform in [low, high).
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  /// Uniform in 0 .. count - 1; count > 0. The bias is below count / 2^32.
  int64_t below(int64_t count) {
    if (count > int64_t{1} << 32) return static_cast<int64_t>(next() % static_cast<uint64_t>(count));
    return static_cast<int64_t>(((next() >> 32) * static_cast<uint64_t>(count)) >> 32);
  }
  /// True with the given probability.
  bool chance(float probability) { return uniform() < probability; }

 private:
  static constexpr uint64_t kGolden = 0x9E3779B97F4A7C15ULL;
  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace sparsify::trainers
