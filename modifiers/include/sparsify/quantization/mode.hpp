// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/alias.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/graph/forward_mode.hpp"
#include "sparsify/graph/sites.hpp"
#include "sparsify/quantization/compute_type.hpp"
#include "sparsify/quantization/fused_batch_norm.hpp"
#include "sparsify/quantization/integer_arithmetic.hpp"
#include "sparsify/quantization/node_kinds.hpp"
#include "sparsify/quantization/rounded_activations.hpp"
#include "sparsify/quantization/rounded_layers.hpp"

namespace sparsify {

/// Fake-quantizes one forward pass as the plan says, without touching the model. A planned tensor is rounded
/// when its first reader asks for it, so that in-place activations need no copy; every reader of the pass
/// gets the rounded one. In training a batch norm, the ReLU behind it and the rounding are computed at once,
/// and layers that compute in bfloat16 multiply the integers themselves, which it holds exactly: the scales
/// follow. In evaluation for engines that compute in integers so does the mode, wherever a kernel of theirs
/// is known; and a layer that reads anything but what the plan rounds for it is an error.
class QuantizationMode : public ForwardMode {
 public:
  struct Settings {
    RoundedActivations::Settings activations{};
    bool freeze_batch_norm = false;  ///< batch-norms use and keep their running statistics while training
  };

  QuantizationMode(const Quantizers& quantizers, const Parameters& parameters, const Parameters& buffers,
                   const Settings& settings)
      : quantizers_(quantizers),
        settings_(settings),
        names_(parameters, buffers),
        sites_(names_),
        activations_(quantizers, settings.activations),
        layers_(quantizers, parameters, buffers, names_, sites_, activations_) {}

  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, c10::Stack* stack) override {
    const auto& facts = operators_(op);
    if (facts.decompose) return run_inside(op, keys, stack);
    const c10::impl::ExcludeDispatchKeyGuard without_mode(kModeKey);
    const auto count = op.schema().arguments().size();
    auto* arguments = stack->data() + (stack->size() - count);
    const auto weight = sites_.enter(facts, arguments);
    note_inputs(facts, arguments, count);
    IntegerProduct product;
    Origin origin;
    std::optional<at::Tensor> result;
    if (!sites_.is_foreign()) {
      if (weight) product = layers_.enter(facts, weight, arguments);
      if (facts.short_name == "batch_norm") adjust_batch_norm(arguments);
      if (facts.short_name == "add") origin.adds_bias = layers_.add_bias(arguments, product_);
      if (!training()) origin.given = activations_.common_quantizer(arguments, count);
      if (facts.in_place || !op.schema().is_mutable()) result = computed_here(facts, arguments);
      if (!result) origin.carried = carry_integers(facts, arguments, count);
      if (!result && origin.carried < 0) round_inputs(op, facts, arguments, count, bool(product));
    }
    if (result) {
      stack->resize(stack->size() - count);
      stack->emplace_back(std::move(*result));
    } else {
      run_below(op, stack);
      if (product) layers_.leave(product, facts, stack->back());
      if (weight) product_ = facts.may_transpose ? stack->back().toTensor().unsafeGetTensorImpl() : nullptr;
    }
    note_outputs(facts, *stack, op.schema().returns().size(), origin);
  }

  /// After the pass, which gave `results`: what every quantizer saw. Throws when the pass met no quantized
  /// layer at all, or when a result is but half computed.
  const std::vector<Extent>& finish(const std::vector<at::Tensor>& results = {}) {
    if (layers_.visited() == 0 && !quantizers_.plan().weights.empty())
      throw Error(
          "the forward pass used none of the quantized layers: it must run in the thread that called "
          "step.forward, with the model that the session was given");
    for (const auto& result : results)
      if (result.defined()) find(result);
    if (!training()) activations_.settle_all();
    return activations_.seen();
  }

 private:
  /// What an operator's results come from.
  struct Origin {
    int given = -1;          ///< in evaluation: the quantizer of what it reads; -1: none, or several
    int carried = -1;        ///< the quantizer whose integers it gives on; -1: none
    bool adds_bias = false;  ///< to a linear layer's product: the sum is what the layer gives
  };

  // --- activations ---

  void note_inputs(const OperatorFacts& facts, const c10::IValue* arguments, std::size_t count) {
    input_storages_.clear();
    for (std::size_t i = 0; i < count; ++i)
      each_tensor(arguments[i], [&](const at::Tensor& tensor) {
        if (!tensor.defined()) return;
        input_storages_.push_back(storage_of(tensor));
        const int number = sites_.number_input(facts, tensor);
        if (number < 0 || activations_.knows(tensor)) return;
        const int quantizer = quantizers_.activation_at("input#" + std::to_string(number));
        if (quantizer < 0) return;
        activations_.add_captured(tensor, quantizer);
        activations_.show("input#" + std::to_string(number), quantizer, tensor);
      });
  }

  // What needs no operator any more: none, or the result.
  std::optional<at::Tensor> computed_here(const OperatorFacts& facts, c10::IValue* arguments) {
    if (facts.short_name == "relu") return awaited(facts, arguments[0].toTensor(), Clip{0});
    if (facts.short_name == "hardtanh") return awaited(facts, arguments[0].toTensor(), clip_of(arguments));
    if (facts.short_name == "batch_norm") return fused_norm(facts, arguments);
    if (facts.short_name == "silu") return silu_in_two_steps(facts, arguments);
    if (facts.short_name == "add" || facts.short_name == "mul") return sum_or_product(facts, arguments);
    if (facts.short_name == "adaptive_avg_pool2d" || facts.short_name == "mean")
      return average_of_integers(facts, arguments);
    return std::nullopt;
  }

  void round_inputs(const c10::OperatorHandle& op, const OperatorFacts& facts, c10::IValue* arguments,
                    std::size_t count, bool input_is_ready) {
    for (std::size_t i = 0; i < count; ++i) {
      if (input_is_ready && static_cast<int>(i) == facts.input_argument()) continue;
      const auto* alias = op.schema().arguments()[i].alias_info();
      const bool writes = alias && alias->isWrite();
      change_tensors(arguments[i], [&](const at::Tensor& tensor) -> at::Tensor {
        auto* entry = find(tensor);
        if (!entry) return tensor;
        if (!writes) return activations_.values(tensor, *entry);
        activations_.settle(tensor, *entry, i == 0 && facts.in_place && facts.short_name != "copy");
        return tensor;
      });
    }
  }

  // Nothing but the batch norm, or the ReLU, that the recorded pass had there may read what is half computed.
  RoundedActivations::Entry* find(const at::Tensor& tensor) {
    auto* entry = activations_.find(tensor);
    if (layers_.has_sums(tensor) || (entry && entry->awaits))
      throw Error(sites_.here() +
                  ": what it gives is read, or returned, where it was not in the forward pass recorded "
                  "first");
    return entry;
  }

  // Operators that only give values on (max-pool, flatten, concatenation) may as well give integers on, when
  // a layer behind them multiplies integers. Gives their quantizer, or -1.
  int carry_integers(const OperatorFacts& facts, c10::IValue* arguments, std::size_t count) {
    if (!training() || facts.in_place) return -1;
    const int quantizer = quantizers_.carried_at(sites_.peek(facts));
    if (quantizer < 0 || !quantizers_.feeds_layer(quantizer) || !activations_.gives_integers(quantizer) ||
        activations_.is_returned(quantizer))
      return -1;
    bool all = true;
    for (std::size_t i = 0; i < count; ++i)
      each_tensor(arguments[i], [&](const at::Tensor& tensor) {
        const auto* entry = tensor.defined() ? activations_.find(tensor) : nullptr;
        all = all && entry && entry->quantizer == quantizer && entry->holds != Holds::kValues &&
              computes_in_bfloat16(tensor);
      });
    if (!all) return -1;
    for (std::size_t i = 0; i < count; ++i)
      change_tensors(arguments[i],
                     [&](const at::Tensor& tensor) { return activations_.integers(tensor, *find(tensor)); });
    return quantizer;
  }

  void note_outputs(const OperatorFacts& facts, const c10::Stack& stack, std::size_t count,
                    const Origin& origin) {
    std::string site;
    for (std::size_t i = stack.size() - count; i < stack.size(); ++i)
      each_tensor(stack[i], [&](const at::Tensor& output) {
        if (!output.defined()) return;
        const auto* storage = storage_of(output);
        if (std::find(input_storages_.begin(), input_storages_.end(), storage) == input_storages_.end())
          sites_.note_computed(output);
        if (site.empty()) site = sites_.leave(facts, output);
        if (origin.adds_bias) site = sites_.here();
        if (origin.carried >= 0) activations_.add(output, origin.carried, Holds::kIntegers);
        if (sites_.is_foreign() || !output.is_floating_point() || activations_.knows(output)) return;
        if (const int quantizer = quantizers_.activation_at(site); quantizer >= 0) {
          activations_.add(output, quantizer);
          activations_.show(site, quantizer, output);
        } else if (origin.given >= 0 && hands_on(facts, site, origin.given)) {
          activations_.add(output, origin.given, Holds::kValues);
        }
      });
  }

  // Whether an operator gives values on: rounded, if it reads rounded ones.
  bool hands_on(const OperatorFacts& facts, const std::string& site, int quantizer) const {
    const GraphNode node{facts.name, site, {}, {}};
    return facts.is_view || quantizers_.carried_at(site) == quantizer || detail::passes_values(node) ||
           detail::op_is(node, {"flip", "roll", "index", "index_select"});
  }

  // In evaluation: sums and products of two activations as integer engines compute them.
  std::optional<at::Tensor> sum_or_product(const OperatorFacts& facts, c10::IValue* arguments) {
    const bool adds = facts.short_name == "add";
    if (!arguments[1].isTensor() || (adds && arguments[2].toScalar().toDouble() != 1)) return std::nullopt;
    const auto a = arguments[0].toTensor(), b = arguments[1].toTensor();
    if (!layers_.computes_as_engines(a) || !layers_.computes_as_engines(b)) return std::nullopt;
    if (adds && !a.sizes().equals(b.sizes())) return std::nullopt;
    const auto site = sites_.peek(facts);
    const auto rounding =
        adds ? quantizers_.rounding_of_sum(site) : Quantizers::Rounding{quantizers_.activation_at(site)};
    auto *of_a = find(a), *of_b = find(b);
    if (!rounding || !of_a || !of_b) return std::nullopt;
    const auto compute = adds ? add_integers : multiply_integers;
    const auto integers = compute(activations_.integers(a, *of_a), quantizers_.grid(of_a->quantizer),
                                  activations_.integers(b, *of_b), quantizers_.grid(of_b->quantizer),
                                  quantizers_.grid(rounding.quantizer));
    return keep_integers(facts, a, *of_a, integers, rounding);
  }

  // What an operator gives for its first argument, rounded.
  at::Tensor keep_integers(const OperatorFacts& facts, const at::Tensor& argument,
                           RoundedActivations::Entry& entry, const at::Tensor& integers,
                           Quantizers::Rounding rounding) {
    if (facts.in_place) activations_.settle(argument, entry, false);
    const auto result = facts.in_place ? at::Tensor(argument).copy_(integers) : integers;
    activations_.add_integers_of(sites_.peek(facts), result, rounding);
    return result;
  }

  // In evaluation: averages over whole images likewise.
  std::optional<at::Tensor> average_of_integers(const OperatorFacts& facts, c10::IValue* arguments) {
    const auto x = arguments[0].toTensor();
    if (!layers_.computes_as_engines(x) || x.dim() != 4) return std::nullopt;
    const bool is_mean = facts.short_name == "mean";  // arguments: input, dim, keepdim, dtype
    if (!detail::covers_images(is_mean, arguments[1])) return std::nullopt;
    if (is_mean && !arguments[3].isNone()) return std::nullopt;
    const int quantizer = quantizers_.activation_at(sites_.peek(facts));
    auto* of_x = find(x);
    if (quantizer < 0 || !of_x) return std::nullopt;
    const auto averages = average_integers(activations_.integers(x, *of_x), quantizers_.grid(of_x->quantizer),
                                           quantizers_.grid(quantizer));
    const bool keeps_dimensions = !is_mean || arguments[2].toBool();
    return keep_integers(facts, x, *of_x, keeps_dimensions ? averages : averages.flatten(1), {quantizer});
  }

  // Integer engines round sigmoid(x) before they multiply by x.
  std::optional<at::Tensor> silu_in_two_steps(const OperatorFacts& facts, c10::IValue* arguments) {
    const auto site = sites_.peek(facts);
    const int of_gate = quantizers_.activation_at(site + ".sigmoid");
    if (of_gate < 0) return std::nullopt;
    const auto given = arguments[0].toTensor();
    auto* entry = find(given);
    const int quantizer = quantizers_.activation_at(site);
    if (entry && quantizer >= 0 && layers_.computes_as_engines(given)) {
      const auto gate = activations_.values(given, *entry).sigmoid();
      activations_.show(site + ".sigmoid", of_gate, gate);
      const auto grid = quantizers_.grid(of_gate);
      const auto product = multiply_integers(
          activations_.integers(given, *entry), quantizers_.grid(entry->quantizer),
          fake_quantize(gate, grid, nullptr, Holds::kIntegers), grid, quantizers_.grid(quantizer));
      return keep_integers(facts, given, *entry, product, {quantizer});
    }
    auto x = given;
    if (entry && facts.in_place)
      activations_.settle(x, *entry, true);
    else if (entry)
      x = activations_.values(x, *entry);
    const auto gate = x.sigmoid();
    const auto rounded_gate = activations_.round_once(gate, of_gate);
    activations_.show(site + ".sigmoid", of_gate, gate);
    return facts.in_place ? x.mul_(rounded_gate) : x.mul(rounded_gate);
  }

  // --- batch norm, ReLU and rounding at once ---

  // Arguments: input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled.
  std::optional<at::Tensor> fused_norm(const OperatorFacts& facts, c10::IValue* arguments) {
    const auto x = arguments[0].toTensor();
    const int layer = layers_.layer_of_norm(arguments);
    if (layer < 0) return std::nullopt;
    const auto product = layers_.take_sums(x);
    if (!training()) {
      if (!product) return std::nullopt;
      if (!arguments[5].toBool()) return layers_.normalised(x, product, sites_.peek(facts));
      arguments[0] = scale_product(x, product, 1);
      return std::nullopt;
    }
    NormCall call;
    const auto tensor = [&](int i) {
      return arguments[i].isTensor() ? arguments[i].toTensor() : at::Tensor();
    };
    call.running_mean = tensor(3), call.running_var = tensor(4);
    call.training = arguments[5].toBool();
    call.momentum = arguments[6].toDouble(), call.eps = arguments[7].toDouble();
    call.factor = product.factor;
    auto rounding = quantizers_.rounding_of_layer(layer, sites_.peek(facts));
    if (rounding && !activations_.can_be_fused(rounding.quantizer)) rounding = {};
    const int quantizer = rounding.quantizer;
    call.clip = rounding.behind.value_or(Clip{});
    if (!can_fuse(x, tensor(1), tensor(2), call)) {
      if (product) arguments[0] = scale_product(x, product, 1);
      return std::nullopt;
    }
    if (quantizer < 0 && !product) return std::nullopt;
    if (quantizer >= 0) {
      call.rounds = true;
      call.grid = quantizers_.grid(quantizer);
      call.holds =
          computes_in_bfloat16(x) && quantizers_.feeds_layer(quantizer) ? Holds::kIntegers : Holds::kValues;
      call.seen = activations_.seen(quantizer, x);
    }
    auto result = fused_batch_norm(x, tensor(1), tensor(2), call);
    if (quantizer >= 0) activations_.add(result, quantizer, call.holds).awaits = rounding.behind;
    return result;
  }

  // The result of a ReLU that was computed with its batch norm. What the batch norm itself gives is not there
  // any more: the other name is for noticing who reads it.
  std::optional<at::Tensor> awaited(const OperatorFacts& facts, const at::Tensor& tensor, const Clip& clip) {
    auto* entry = activations_.find(tensor);
    if (!entry || entry->awaits != clip) return std::nullopt;
    activations_.show(sites_.peek(facts), entry->quantizer, tensor);
    if (!facts.in_place) {
      const auto result = at::alias(tensor);
      activations_.add(result, entry->quantizer, entry->holds);
      return result;
    }
    entry->awaits.reset();
    return tensor;
  }

  // Arguments of hardtanh: input, min_val, max_val.
  static Clip clip_of(const c10::IValue* arguments) {
    return {static_cast<float>(arguments[1].toScalar().toDouble()),
            static_cast<float>(arguments[2].toScalar().toDouble())};
  }

  bool training() const { return settings_.activations.training; }

  void adjust_batch_norm(c10::IValue* arguments) {
    if (!arguments[3].isTensor() || !names_.find(arguments[3].toTensor())) return;
    if (settings_.freeze_batch_norm && training()) arguments[5] = false;
    layers_.adjust_batch_norm(arguments);
  }

  const Quantizers& quantizers_;
  const Settings settings_;
  TensorNames names_;
  SiteNames sites_;
  Operators operators_;
  RoundedActivations activations_;
  RoundedLayers layers_;
  std::vector<const void*> input_storages_;
  const c10::TensorImpl* product_ = nullptr;  ///< of the last weighted call, to which a bias may be added
};

}  // namespace sparsify
