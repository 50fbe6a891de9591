// SPDX-License-Identifier: Apache-2.0
#include "quantize/quantizers.hpp"

#include <ATen/ATen.h>

#include "sparsify/error.hpp"

namespace sparsify::onnx {
namespace {

bool is_signed(const ActivationRange& range) { return range.lowest < 0; }

// QuantizeLinear saturates at the ends of its type, so other ranges cannot be expressed by it.
bool fills_its_type(const ActivationRange& range) {
  if (is_signed(range)) return (range.lowest == -128 || range.lowest == -127) && range.highest == 127;
  return range.lowest == 0 && range.highest == 255;
}

template <class Key>
int look_up(const std::map<Key, int>& map, const Key& key) {
  const auto found = map.find(key);
  return found == map.end() ? -1 : found->second;
}

}  // namespace

Quantizers::Quantizers(const TrainedQuantization* trained, const Graph& graph, Target target)
    : trained_(trained) {
  if (!trained_) return;
  check(target);
  place(graph);
  for (std::size_t i = 0; i < trained_->plan.weights.size(); ++i)
    by_layer_[trained_->plan.weights[i].site] = static_cast<int>(i);
}

void Quantizers::check(Target target) const {
  const auto& plan = trained_->plan;
  if (plan.scheme != name(target))
    throw Error("the model was quantized for target '" + plan.scheme + "' and cannot be exported for '" +
                name(target) + "': the two round at different places");
  if (plan.activations.size() != trained_->activations.size() ||
      plan.weights.size() != trained_->weights.size())
    throw Error("the trained quantization does not belong to its plan: " +
                std::to_string(plan.activations.size()) + " + " + std::to_string(plan.weights.size()) +
                " quantizers planned, " + std::to_string(trained_->activations.size()) + " + " +
                std::to_string(trained_->weights.size()) + " given");
  for (std::size_t i = 0; i < plan.activations.size(); ++i) {
    const auto& where = plan.activations[i].site;
    const auto& range = plan.activations[i].range;
    if (!fills_its_type(range))
      throw Error(where + ": a range of " + std::to_string(range.lowest) + " to " +
                  std::to_string(range.highest) + " has no ONNX form; expected 0 to 255 or -128 to 127");
    const auto scale = trained_->activations[i].scale;
    if (!scale.defined() || scale.numel() != 1 || !(scale.item<float>() > 0))
      throw Error(where + ": the quantizer has no positive scale: was it ever trained?");
    if (target == Target::kGpu && (!is_signed(range) || trained_->activations[i].zero_point.item<int>() != 0))
      throw Error(where + ": target 'gpu' takes signed quantizers with zero point 0 only");
  }
}

void Quantizers::place(const Graph& graph) {
  std::map<std::string, std::vector<int>> values;
  for (const auto& node : graph.nodes)
    for (const int output : node.outputs)
      if (output >= 0) values[node.site].push_back(output);
  for (const int input : graph.inputs) values[graph.site_of(input)] = {input};

  const auto assign = [&](std::map<int, int>& to, const std::string& site, std::size_t index) {
    const auto found = values.find(site);
    if (found == values.end()) return;
    for (const int value : found->second) to[value] = static_cast<int>(index);
  };
  for (std::size_t i = 0; i < trained_->plan.activations.size(); ++i) {
    const auto& activation = trained_->plan.activations[i];
    auto rounded = activation.shared_sites;
    rounded.push_back(activation.site);
    for (const auto& site : rounded) {
      assign(by_value_, site, i);
      by_site_[site] = static_cast<int>(i);
      if (const auto found = values.find(site); found != values.end())
        for (const int value : found->second) sites_[value] = site;
    }
    for (const auto& site : activation.carried_sites) assign(carried_, site, i);
  }
}

int Quantizers::of_value(int value) const { return look_up(by_value_, value); }
int Quantizers::carried_by(int value) const { return look_up(carried_, value); }
int Quantizers::of_site(const std::string& site) const { return look_up(by_site_, site); }
std::string Quantizers::site_of(int value) const {
  const auto found = sites_.find(value);
  return found == sites_.end() ? "" : found->second;
}
int Quantizers::of_layer(const std::string& site) const { return look_up(by_layer_, site); }

at::Tensor Quantizers::scale(int activation) const {
  return trained_->activations[activation].scale.detach().to(at::kCPU, at::kFloat).reshape({});
}

at::Tensor Quantizers::zero_point(int activation) const {
  const auto type = is_signed(trained_->plan.activations[activation].range) ? at::kChar : at::kByte;
  const auto& given = trained_->activations[activation].zero_point;
  return given.defined() ? given.detach().to(at::kCPU).to(type).reshape({}) : at::zeros({}, type);
}

double Quantizers::lowest(int activation) const {
  const auto integer = trained_->plan.activations[activation].range.lowest;
  return scale(activation).item<double>() *
         static_cast<double>(integer - zero_point(activation).item<std::int64_t>());
}

double Quantizers::highest(int activation) const {
  const auto integer = trained_->plan.activations[activation].range.highest;
  return scale(activation).item<double>() *
         static_cast<double>(integer - zero_point(activation).item<std::int64_t>());
}

const std::vector<UnquantizedLayer>& Quantizers::unquantized() const {
  static const std::vector<UnquantizedLayer> none;
  return trained_ ? trained_->plan.unquantized : none;
}

}  // namespace sparsify::onnx
