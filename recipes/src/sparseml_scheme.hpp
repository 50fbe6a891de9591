// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cctype>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/value.hpp"

namespace sparsify {

/// A module type whose modules have no weights of their own to leave in floating point, such as ReLU.
inline bool is_weightless_type(const std::string& name) {
  const bool type = !name.empty() && std::isupper(static_cast<unsigned char>(name[0])) &&
                    name.find('.') == std::string::npos;
  return type && name != "Conv1d" && name != "Conv2d" && name != "Conv3d" && name != "Linear" &&
         name != "Embedding";
}

/// How a weight is quantized, as far as SparseML's description of a scheme says.
struct WeightForm {
  int bits = 0;  ///< 0: not said
  bool per_tensor = false;

  std::string text() const {
    return (bits != 0 && bits != 8 ? "with weights of " + std::to_string(bits) + " bits, "
                                   : "with weights ") +
           (per_tensor ? "per tensor" : "per output channel");
  }
};

/// SparseML's description of a scheme as the name of one of ours, or the reason why there is none.
struct SchemeReader {
  std::string scheme, reason;
  WeightForm weights;

  static const Value* part(const Value& scheme, const char* name) {
    const auto* found = scheme.find(name);
    return found && !found->is(Value::Kind::kNone) ? found : nullptr;
  }
  static double number(const Value& part, const char* name, double otherwise) {
    const auto* found = part.find(name);
    return found && !found->is(Value::Kind::kNone) ? found->number : otherwise;
  }

  explicit SchemeReader(const Value& written) {
    const auto* inputs = part(written, "input_activations");
    const auto* of_weights = part(written, "weights");
    scheme = inputs && number(*inputs, "symmetric", 0) != 0 ? "gpu" : "cpu";
    if (!of_weights) {
      reason = "weights in floating point";
      return;
    }
    const double bits = number(*of_weights, "num_bits", 8);
    const auto* strategy = part(*of_weights, "strategy");
    if (!inputs)
      reason = "activations in floating point";
    else if (!(bits >= 2 && bits <= 8))
      reason = "weights with other than 2 to 8 bits";
    else if (number(*inputs, "num_bits", 8) != 8)
      reason = "activations with other than 8 bits";
    else if (number(*of_weights, "symmetric", 1) == 0)
      reason = "asymmetric weights";
    else if (strategy && *strategy != Value("tensor") && *strategy != Value("channel"))
      reason = "weights with strategy " + describe(*strategy) + "; there are tensor and channel";
    weights = {static_cast<int>(bits), strategy && *strategy == Value("tensor")};
  }
};

/// Collects forms for single layers beside that of all others, as `weight_bits` and `weight_strategy` take
/// them.
class WeightForms {
 public:
  /// `bits`: as a field of their own; `all`: as the scheme describes them, if it does.
  WeightForms(const std::optional<Value>& bits, const WeightForm& all)
      : all_(all), are_described_(all.bits != 0) {
    if (bits && bits->is(Value::Kind::kNumber)) all_.bits = static_cast<int>(bits->number);
  }

  void add(const std::string& target, const WeightForm& form) { layers_.emplace_back(target, form); }
  bool are_described() const { return are_described_ || !layers_.empty(); }

  Value bits() const {
    const int others = all_.bits == 8 ? 0 : all_.bits;  // of cpu-legacy it is not the default
    std::vector<std::pair<std::string, Value>> tiers;
    const auto add_to = [&](int number, const std::string& target) {
      const auto key = std::to_string(number);
      for (auto& tier : tiers)
        if (tier.first == key) return tier.second.items.push_back(Value(target));
      tiers.emplace_back(key, Value::list({Value(target)}));
    };
    bool same = true;
    for (const auto& [target, form] : layers_) same = same && form.bits == (others == 0 ? 8 : others);
    if (same) return others == 0 ? Value() : Value(static_cast<double>(others));
    for (const auto& [target, form] : layers_) add_to(form.bits, target);
    if (others != 0) add_to(others, "__ALL__");
    return Value::mapping(std::move(tiers));
  }

  Value strategy() const {
    if (all_.per_tensor) return Value("tensor");
    std::vector<Value> targets;
    for (const auto& [target, form] : layers_)
      if (form.per_tensor) targets.emplace_back(target);
    return targets.empty() ? Value() : Value::mapping({{"tensor", Value::list(std::move(targets))}});
  }

 private:
  WeightForm all_;
  bool are_described_;
  std::vector<std::pair<std::string, WeightForm>> layers_;
};

}  // namespace sparsify
