// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/graph/forward_mode.hpp"
#include "sparsify/graph/operators.hpp"
#include "sparsify/graph/tensor_names.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {
namespace detail {

/// Hands on what the named layers read or give in a forward pass.
class ActivationWatch : public ForwardMode {
 public:
  using See = std::function<void(const at::Tensor&)>;
  ActivationWatch(const Parameters& parameters, const std::set<std::string>& weights, bool outputs, See see)
      : names_(parameters, {}), weights_(weights), outputs_(outputs), see_(std::move(see)) {}

  void call(const c10::OperatorHandle& op, c10::DispatchKeySet keys, c10::Stack* stack) override {
    const auto& facts = operators_(op);
    if (facts.decompose) return run_inside(op, keys, stack);
    const auto* arguments = stack->data() + stack->size() - op.schema().arguments().size();
    const int weight = facts.weight_argument;
    bool watched = weight > 0 && arguments[weight].isTensor();
    if (watched) {
      const auto found = names_.find(arguments[weight].toTensor());
      watched = found && weights_.count(found.named->name) > 0;
    }
    // The operand before the weight: conv2d(input, weight), addmm(bias, input, weight).
    if (watched && !outputs_) see_(arguments[weight - 1].toTensor());
    run_below(op, stack);
    if (watched && outputs_) see_(stack->back().toTensor());
  }

 private:
  TensorNames names_;
  const std::set<std::string>& weights_;
  bool outputs_;
  See see_;
  Operators operators_;
};

}  // namespace detail

/// Activation-sparsity regularisation (Kurtz et al. 2020, ICML): adds to the loss a measure of how dense the
/// inputs or outputs of layers are, so that more of them become zero. Can not act together with quantizers.
class ASReg : public Modifier {
 public:
  static constexpr const char* kName = "ASRegModifier";
  struct Options {
    Window window{};
    double alpha = 1e-4;
    std::vector<std::string> layers = {"__ALL_PRUNABLE__"};
    bool layer_normalized = false;
    std::string reg_func = "l1";
    std::string reg_tens = "inp";
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("alpha", alpha, "factor of the term in the loss", at_least(0));
      visit("layers", layers, "layers with weights: selectors as for pruning");
      visit("layer_normalized", layer_normalized, "the mean over layers, not the sum");
      visit("reg_func", reg_func,
            "l1, l2 (the square), relu (above zero only) of each element; hs: Hoyer's square of the tensor. "
            "Means over the tensor",
            one_of({"l1", "l2", "relu", "hs"}));
      visit("reg_tens", reg_tens, "inp: what the layers read; out: what they give", one_of({"inp", "out"}));
    }
  };
  explicit ASReg(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window);
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    const auto selected = binding.select(options_.layers);
    for (const auto& parameter : selected)
      if (parameter.prunable()) weights_.insert(parameter.name);
    binding.claim("what operators see", plan_.start, plan_.end);
    binding.schedule({"activation regularisation", plan_, names_of(selected)});
  }

  void forward(State& state, const std::function<void()>& run) override {
    // The first pass belongs to those that record the model.
    if (!state.training || !plan_.contains(state.step) || state.step == 0) return run();
    sum_ = at::Tensor(), seen_ = 0, has_run_ = true;
    detail::ActivationWatch watch(state.parameters, weights_, options_.reg_tens == "out",
                                  [this](const at::Tensor& tensor) {
                                    const auto term = density(tensor.to(at::kFloat));
                                    sum_ = sum_.defined() ? sum_ + term : term;
                                    ++seen_, has_seen_ = true;
                                  });
    const ModeGuard guard(watch);
    run();
  }

  at::Tensor loss(State&, at::Tensor loss) override {
    if (!sum_.defined()) return loss;
    const double factor = options_.layer_normalized ? options_.alpha / seen_ : options_.alpha;
    return loss + std::exchange(sum_, {}) * factor;
  }

  void finish(State&) override {
    if (has_run_ && !has_seen_) throw Error("no forward pass used one of the selected layers");
  }

 private:
  at::Tensor density(const at::Tensor& tensor) const {
    if (options_.reg_func == "l1") return tensor.abs().mean();
    if (options_.reg_func == "l2") return tensor.square().mean();
    if (options_.reg_func == "relu") return tensor.clamp_min(0).mean();
    const auto square = tensor.square().sum().clamp_min(1e-12);
    return tensor.abs().sum().square() / square / static_cast<double>(tensor.numel());
  }

  Options options_;
  StepPlan plan_;
  std::set<std::string> weights_;
  at::Tensor sum_;
  int seen_ = 0;                             // in the last pass
  bool has_run_ = false, has_seen_ = false;  // in this session
};

}  // namespace sparsify
