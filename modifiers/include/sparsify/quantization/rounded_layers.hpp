// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "sparsify/graph/sites.hpp"
#include "sparsify/quantization/bias_grid.hpp"
#include "sparsify/quantization/compute_type.hpp"
#include "sparsify/quantization/integer_products.hpp"
#include "sparsify/quantization/integer_sums.hpp"
#include "sparsify/quantization/rounded_activations.hpp"

namespace sparsify {

/// The weighted calls of one forward pass, their weights rounded. In bfloat16 training they multiply the
/// integers themselves, which it holds exactly, and the scales follow; evaluation for engines that compute in
/// integers does so too, and rounds the sums as these do.
class RoundedLayers {
 public:
  RoundedLayers(const Quantizers& quantizers, const Parameters& parameters, const Parameters& buffers,
                const TensorNames& names, SiteNames& sites, RoundedActivations& activations)
      : quantizers_(quantizers),
        parameters_(parameters),
        buffers_(buffers),
        names_(names),
        sites_(sites),
        activations_(activations),
        scales_(quantizers.plan().weights.size()) {}

  /// How many of the plan's layers the pass has met.
  int visited() const { return visited_; }

  /// Before the call runs: rounds the weight. Gives a product when the operands have become integers.
  IntegerProduct enter(const OperatorFacts& facts, const TensorNames::Found& weight, c10::IValue* arguments) {
    const auto& site = sites_.here();
    const int layer = quantizers_.weight_at(site);
    if (layer < 0) {
      if (quantizers_.leaves_alone(weight.named->name)) return {};
      throw Error(site +
                  " is not in the quantization plan: the forward pass recorded first did not make "
                  "this call");
    }
    ++visited_;
    if (!settings().round) return {};
    const auto& parameter = weight.named->tensor;
    scales_[layer] = layer_scales(quantizers_, layer, parameter, parameters_, buffers_);
    if (!training()) check_input(facts, arguments[facts.input_argument()].toTensor(), layer);
    auto product = take_integers(facts, layer, arguments);
    const auto rounded = fake_quantize_weight(parameter, scales_[layer], entry(layer).highest(),
                                              product ? Holds::kIntegers : Holds::kValues);
    arguments[facts.weight_argument] = weight.transposed ? rounded.t() : rounded;
    const int bias = facts.bias_argument();
    if (bias >= 0 && entry(layer).batch_norm.empty()) adjust_bias(layer, arguments[bias]);
    return product;
  }

  /// After the call: its result becomes real, or rounded, unless the layer's batch norm sees to that.
  void leave(const IntegerProduct& product, const OperatorFacts& facts, c10::IValue& result) {
    const auto output = result.toTensor();
    const auto channel_dim = facts.short_name == "conv2d" ? 1 : output.dim() - 1;
    const bool has_norm = !entry(product.layer).batch_norm.empty();
    if (has_norm && (!training() || !product.bias.defined()))
      unscaled_.add(output, product);
    else if (training())
      result = scale_product(output, product, channel_dim);
    else
      result = finished(output, product.layer, channel_dim, sites_.here());
  }

  /// The sums of a layer, which its batch norm has to scale.
  bool has_sums(const at::Tensor& tensor) const { return unscaled_.has(tensor); }
  IntegerProduct take_sums(const at::Tensor& tensor) { return unscaled_.take(tensor); }

  /// In evaluation: such sums through the batch norm called at `site`.
  at::Tensor normalised(const at::Tensor& sums, const IntegerProduct& product, const std::string& site) {
    return finished(sums, product.layer, 1, site);
  }

  /// In evaluation: whether x is to be computed with as integer engines would.
  bool computes_as_engines(const at::Tensor& x) const {
    return moves_biases() && settings().round && !at::GradMode::is_enabled() && x.device().is_cpu() &&
           x.scalar_type() == at::kFloat && !is_autocast(x);
  }

  /// A linear layer of three dimensions adds its bias after its product, which then is not what it gives.
  bool add_bias(c10::IValue* arguments, const c10::TensorImpl* last_product) {
    auto& bias = arguments[1];
    const auto found = bias.isTensor() ? names_.find(bias.toTensor()) : TensorNames::Found{};
    if (!found || bias.toTensor().dim() != 1) return false;
    const int layer = quantizers_.layer_of_bias(found.named->name, sites_.here());
    if (layer >= 0 && scales_[layer].defined()) adjust_bias(layer, bias);
    const auto& product = arguments[0].toTensor();
    const bool belongs = layer == quantizers_.weight_at(sites_.here());
    return belongs && product.unsafeGetTensorImpl() == last_product && activations_.forget(product);
  }

  /// The layer whose batch norm is called, or -1.
  int layer_of_norm(const c10::IValue* arguments) const {
    if (!arguments[3].isTensor()) return -1;
    const auto mean = names_.find(arguments[3].toTensor());
    return mean ? quantizers_.layer_of_batch_norm(mean.named->name, sites_.here()) : -1;
  }

  /// Gives a batch norm the beta with which the bias of its layer lies on the grid of engines, unless that
  /// comes with the sums.
  void adjust_batch_norm(c10::IValue* arguments) {
    const int layer = layer_of_norm(arguments);
    if (layer < 0 || !scales_[layer].defined() || !moves_biases() || arguments[5].toBool()) return;
    if (has_sums(arguments[0].toTensor())) return;
    const auto beta = arguments[2].isTensor() ? arguments[2].toTensor() : at::Tensor();
    arguments[2] =
        beta_on_grid(beta, entry(layer), input_scale(layer), scales_[layer], parameters_, buffers_);
  }

 private:
  const RoundedActivations::Settings& settings() const { return activations_.settings(); }
  bool training() const { return settings().training; }
  bool moves_biases() const { return !training() && quantizers_.plan().scheme == "cpu"; }
  const WeightQuantizer& entry(int layer) const { return quantizers_.plan().weights[layer]; }
  float input_scale(int layer) const { return quantizers_.grid(entry(layer).input).scale; }

  // Evaluation only: what training drops at random is read rounded, or not at all.
  void check_input(const OperatorFacts& facts, const at::Tensor& input, int layer) {
    const int planned = entry(layer).input;
    const auto* known = activations_.find(input);
    if (known && known->quantizer == planned) return;
    const bool before_layers = visited_ == 1 || sites_.number_input(facts, input) >= 0;
    if (known || !before_layers || !quantizers_.rounds_input(planned))
      throw Error(sites_.here() +
                  ": its input is not the tensor that the recorded forward pass rounded here: the model "
                  "evaluates otherwise than it trains");
    activations_.add(input, planned);  // images may be made in one pass and captured in another
    activations_.show(quantizers_.plan().activations[planned].site, planned, input);
  }

  IntegerProduct take_integers(const OperatorFacts& facts, int layer, c10::IValue* arguments) {
    auto& input = arguments[facts.input_argument()];
    const int quantizer = entry(layer).input;
    const int bias = facts.bias_argument();
    if (!activations_.gives_integers(quantizer) || !multiplies_integers(facts, layer, input.toTensor()) ||
        !has_usual_bias(layer, bias < 0 ? c10::IValue() : arguments[bias]))
      return {};
    auto* known = activations_.find(input.toTensor());
    if (!known || known->quantizer != quantizer) return {};
    if (facts.short_name == "addmm" && arguments[3].toScalar().toDouble() != 1) return {};
    input = activations_.integers(input.toTensor(), *known);
    IntegerProduct product{layer, scales_[layer].mul(static_cast<double>(input_scale(layer))), {}};
    if (bias < 0 || !arguments[bias].isTensor()) return product;
    product.bias = arguments[bias].toTensor();
    if (facts.short_name == "addmm")
      arguments[3] = 0;  // its factor: the bias is left out
    else
      arguments[bias] = c10::IValue();
    return product;
  }

  // Evaluation takes the bias from the model, not from the call: none that the call computes.
  bool has_usual_bias(int layer, const c10::IValue& bias) const {
    if (training() || !bias.isTensor() || !bias.toTensor().defined()) return true;
    const auto found = names_.find(bias.toTensor());
    return found && found.named->name == entry(layer).bias;
  }

  // Float32 holds sums of 8-bit products exactly up to 2^24.
  bool multiplies_integers(const OperatorFacts& facts, int layer, const at::Tensor& input) const {
    if (facts.short_name == "conv2d" && input.dim() != 4) return false;  // one image, without its dimension
    if (training()) return computes_in_bfloat16(input);
    const bool adds_bias_later = facts.bias_argument() < 0 && !entry(layer).bias.empty();
    return !adds_bias_later && computes_as_engines(input);
  }

  // The layer's output, which `site` gives, rounded if anything behind a ReLU at most rounds it.
  at::Tensor finished(const at::Tensor& sums, int layer, std::int64_t channel_dim, const std::string& site) {
    const auto plain = sums.is_non_overlapping_and_dense() ? sums : sums.contiguous();
    const auto rounding = quantizers_.rounding_of_layer(layer, site);
    std::optional<Grid> grid;
    if (rounding) grid = quantizers_.grid(rounding.quantizer);
    finish_sums(plain, channel_dim,
                sum_form(entry(layer), scales_[layer], input_scale(layer), parameters_, buffers_),
                grid ? &*grid : nullptr, rounding.behind.value_or(Clip{}));
    if (grid) activations_.add_integers_of(site, plain, rounding);
    return plain;
  }

  void adjust_bias(int layer, c10::IValue& argument) const {
    if (!moves_biases() || !argument.isTensor() || !argument.toTensor().defined()) return;
    argument = bias_on_grid(argument.toTensor(), input_scale(layer), scales_[layer]);
  }

  const Quantizers& quantizers_;
  const Parameters& parameters_;
  const Parameters& buffers_;
  const TensorNames& names_;
  SiteNames& sites_;
  RoundedActivations& activations_;
  UnscaledProducts unscaled_;
  std::vector<at::Tensor> scales_;  ///< of weights
  int visited_ = 0;
};

}  // namespace sparsify
