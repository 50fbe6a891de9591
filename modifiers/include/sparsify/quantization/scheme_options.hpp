// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/quantization/layer_targets.hpp"
#include "sparsify/tiers.hpp"

namespace sparsify {

/// How many bits the weights of quantized layers have, 2 to 8.
struct WeightBits {
  int all = 8;
  std::vector<Tier> layers{};  ///< others for these; the first match wins
};

/// What a recipe may choose beside the scheme itself.
struct SchemeOptions {
  WeightBits bits{};
  bool all_per_tensor = false;            ///< weights have one scale for all output channels
  std::vector<std::string> per_tensor{};  ///< those of these layers do
  bool symmetric = false;                 ///< activations that may be negative: zero point in the middle
};

/// Bits as in a recipe: a number, or a mapping from numbers to selectors. Throws InvalidField.
inline WeightBits read_weight_bits(const Value& value, int otherwise) {
  const auto checked = [](const Value& bits) {
    const double number = bits.number;
    if (!bits.is(Value::Kind::kNumber) || !(number >= 2 && number <= 8) || number != std::floor(number))
      throw InvalidField("weight_bits", "expected 2 to 8 bits, got " + describe(bits));
    return static_cast<int>(number);
  };
  WeightBits bits{otherwise};
  if (value.is(Value::Kind::kMapping))
    bits.layers = read_tiers("weight_bits", value);
  else if (!value.is(Value::Kind::kNone))
    bits.all = checked(value);
  for (const auto& tier : bits.layers) checked(tier.number);
  return bits;
}

/// `channel`, `tensor`, or a mapping `{tensor: SELECTORS}`. Throws InvalidField.
inline void read_weight_strategy(const Value& value, SchemeOptions& options) {
  if (value.is(Value::Kind::kMapping)) {
    for (const auto& [strategy, selectors] : value.entries) {
      if (strategy != "tensor")
        throw InvalidField("weight_strategy", "expected the key tensor, got '" + strategy +
                                                  "': all others have a scale for each "
                                                  "channel");
      options.per_tensor = detail::selectors_in("weight_strategy", selectors);
    }
    return;
  }
  options.all_per_tensor = value == Value("tensor");
  if (!options.all_per_tensor && value != Value("channel"))
    throw InvalidField("weight_strategy",
                       "expected channel, tensor or {tensor: SELECTORS}, got " + describe(value));
}

namespace detail {

class BitsOfLayers {
 public:
  explicit BitsOfLayers(const WeightBits& bits) : all_(bits.all) {
    for (const auto& tier : bits.layers)
      tiers_.emplace_back(static_cast<int>(tier.number), LayerTargets("weight_bits", tier.params));
  }
  int of(const GraphNode& node, const GraphValue& weight) {
    int bits = 0;
    for (auto& [number, targets] : tiers_)  // all are asked: each must match something
      if (targets.match(node, weight) && bits == 0) bits = number;
    return bits == 0 ? all_ : bits;
  }
  void check_used() const {
    for (const auto& tier : tiers_) tier.second.check_used();
  }

 private:
  int all_;
  std::vector<std::pair<int, LayerTargets>> tiers_;
};

}  // namespace detail
}  // namespace sparsify
