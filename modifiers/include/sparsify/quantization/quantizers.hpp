// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/parameters.hpp"
#include "sparsify/quantization/plan.hpp"
#include "sparsify/quantization/weights.hpp"

namespace sparsify {

/// The range of one activation quantizer, from the batches that it saw.
struct ObservedRange {
  Extent extent;
  std::int64_t batches = 0;

  /// A moving average.
  void move_towards(const Extent& batch, double averaging_constant) {
    const auto move = [&](float old, float seen) {
      return batches == 0 ? seen
                          : static_cast<float>(old + averaging_constant * (static_cast<double>(seen) - old));
    };
    extent = {move(extent.low, batch.low), move(extent.high, batch.high)};
    ++batches;
  }
  void set(const Extent& whole) { extent = whole, ++batches; }
};

/// A plan at work: the range of every activation, and where each quantizer is found during a forward pass.
class Quantizers {
 public:
  Quantizers() = default;
  explicit Quantizers(QuantizationPlan plan) : plan_(std::move(plan)), ranges_(plan_.activations.size()) {
    for (int i = 0; i < static_cast<int>(plan_.activations.size()); ++i) {
      activations_[plan_.activations[i].site] = i;
      for (const auto& site : plan_.activations[i].shared_sites) activations_[site] = i;
      for (const auto& site : plan_.activations[i].carried_sites) carried_[site] = i;
      for (const auto& site : plan_.activations[i].rectified_sums) rectified_sums_[site] = i;
    }
    for (int i = 0; i < static_cast<int>(plan_.weights.size()); ++i) {
      const auto& weight = plan_.weights[i];
      weights_[weight.site] = i;
      fed_.insert(weight.input);
      if (!weight.batch_norm.empty())
        batch_norms_[batch_norm_tensor(weight, "running_mean")] = i;
      else if (!weight.bias.empty())
        biases_[weight.bias] = i;
    }
    for (const auto& layer : plan_.unquantized) left_alone_.insert(parameter_of(layer.site));
  }

  const QuantizationPlan& plan() const { return plan_; }
  std::vector<ObservedRange>& ranges() { return ranges_; }
  const std::vector<ObservedRange>& ranges() const { return ranges_; }

  int activation_at(const std::string& site) const { return at(activations_, site); }
  /// Where values on a quantizer's grid are given on without rounding.
  int carried_at(const std::string& site) const { return at(carried_, site); }
  /// What rounds what a layer or a sum gives.
  struct Rounding {
    int quantizer = -1;            ///< -1: nothing
    std::optional<Clip> behind{};  ///< of a ReLU that comes before it
    explicit operator bool() const { return quantizer >= 0; }
  };
  /// Of what a layer gives, computed at `site`: its own, or its batch norm's.
  Rounding rounding_of_layer(int layer, const std::string& site) const {
    return rounding_at(site, plan_.weights[layer].output, plan_.weights[layer].clip);
  }
  /// Of the sum computed at a site.
  Rounding rounding_of_sum(const std::string& site) const {
    return rounding_at(site, at(rectified_sums_, site), Clip{0});
  }
  /// Whether a layer reads what the quantizer rounds.
  bool feeds_layer(int activation) const { return fed_.count(activation) > 0; }
  /// Whether what the quantizer rounds comes before all layers: captured, or made in the pass.
  bool rounds_input(int activation) const {
    const auto& site = plan_.activations[activation].site;
    return site.rfind("input#", 0) == 0 || site.rfind("input/", 0) == 0;
  }
  int weight_at(const std::string& site) const { return at(weights_, site); }
  /// The layer into which the batch-norm with this running mean is folded, or -1. When several are, as a
  /// layer used twice with its batch-norm: the one at `site`, which ran last.
  int layer_of_batch_norm(const std::string& running_mean, const std::string& site = "") const {
    const int last = weight_at(site);
    const bool same = last >= 0 && batch_norm_tensor(plan_.weights[last], "running_mean") == running_mean;
    return same ? last : at(batch_norms_, running_mean);
  }
  /// The layer without batch-norm that has this bias, or -1. Of several uses of one layer: that at `site`.
  int layer_of_bias(const std::string& bias, const std::string& site) const {
    const int last = weight_at(site);
    const bool same = last >= 0 && plan_.weights[last].batch_norm.empty() && plan_.weights[last].bias == bias;
    return same ? last : at(biases_, bias);
  }
  bool leaves_alone(const std::string& parameter) const { return left_alone_.count(parameter) > 0; }

  /// Throws when the quantizer has seen no batch.
  Grid grid(int activation) const {
    const auto& quantizer = plan_.activations[activation];
    if (ranges_[activation].batches == 0)
      throw Error("the quantizer of " + quantizer.site +
                  " has seen no finite data: run training steps with step.forward first");
    return make_grid(ranges_[activation].extent, quantizer.range, quantizer.non_negative);
  }

  bool saw_data() const {
    for (const auto& range : ranges_)
      if (range.batches > 0) return true;
    return false;
  }

  /// The parameter of a weighted call site: "fc.weight@1" is its second use.
  static std::string parameter_of(const std::string& site) { return site.substr(0, site.find('@')); }

  static std::string batch_norm_tensor(const WeightQuantizer& weight, const std::string& name) {
    return weight.batch_norm == "." ? name : weight.batch_norm + "." + name;
  }

 private:
  Rounding rounding_at(const std::string& site, int clipped, const std::optional<Clip>& clip) const {
    const int own = activation_at(site);
    return own < 0 && clipped >= 0 && clip ? Rounding{clipped, clip} : Rounding{own};
  }

  static int at(const std::unordered_map<std::string, int>& map, const std::string& key) {
    const auto found = map.find(key);
    return found == map.end() ? -1 : found->second;
  }

  QuantizationPlan plan_;
  std::vector<ObservedRange> ranges_;
  std::unordered_map<std::string, int> activations_, carried_, rectified_sums_, weights_, batch_norms_,
      biases_;
  std::unordered_set<int> fed_;
  std::unordered_set<std::string> left_alone_;
};

/// What a layer's running statistics make of each output channel once its batch-norm is folded into it.
inline Folded fold(const WeightQuantizer& layer, std::int64_t channels, const Parameters& parameters,
                   const Parameters& buffers) {
  const auto values = [&](const std::string& name, double otherwise) {
    const auto* found = find_named(parameters, name);
    if (!found) found = find_named(buffers, name);  // all of a frozen batch norm
    return found ? detail::channel_values(found->tensor) : std::vector<double>(channels, otherwise);
  };
  Folded folded{std::vector<double>(channels, 1), values(layer.bias, 0)};
  if (layer.batch_norm.empty()) return folded;
  const auto named = [&](const char* name) { return Quantizers::batch_norm_tensor(layer, name); };
  const auto gamma = values(named("weight"), 1), beta = values(named("bias"), 0);
  const auto mean = values(named("running_mean"), 0), variance = values(named("running_var"), 1);
  for (std::int64_t c = 0; c < channels; ++c) {
    folded.k[c] = gamma[c] / std::sqrt(variance[c] + layer.eps);
    folded.b[c] = beta[c] + (folded.b[c] - mean[c]) * folded.k[c];
  }
  return folded;
}

/// The scales a layer's weight is rounded with: in training, in evaluation, and in the exported model.
inline at::Tensor layer_scales(const Quantizers& quantizers, int layer, const at::Tensor& weight,
                               const Parameters& parameters, const Parameters& buffers) {
  const auto& entry = quantizers.plan().weights[layer];
  const bool integer_bias = quantizers.plan().scheme == "cpu" && quantizers.ranges()[entry.input].batches > 0;
  const double input_scale = integer_bias ? quantizers.grid(entry.input).scale : 0;
  if (!integer_bias && !entry.per_tensor) return weight_scales(weight, nullptr, 0, entry.highest());
  const auto folded = fold(entry, weight.size(0), parameters, buffers);
  return entry.per_tensor ? tensor_weight_scales(weight, folded, input_scale, entry.highest())
                          : weight_scales(weight, &folded, input_scale, entry.highest());
}

}  // namespace sparsify
