// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/masks/n_of_m.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// One-shot N:M pruning by magnitude along input channels (2:4: arXiv 2104.08378): masks are made once, at
/// `start_epoch`, and stay. Layers that the target's sparse kernels cannot use are left dense, and noted with
/// the reason.
class NMPruning : public Modifier {
 public:
  static constexpr const char* kName = "NMPruningModifier";
  struct Options {
    double start_epoch = 0;
    std::string mask_type = "2:4";
    std::vector<std::string> params = {"__ALL_PRUNABLE__"};
    bool exclude_grouped = true;
    std::int64_t min_channels = 16;
    std::vector<std::string> exclude{};
    template <class Visitor>
    void fields(Visitor& visit) {
      visit("start_epoch", start_epoch,
            "epoch at which the masks are made; usually when the dense model has converged");
      visit("mask_type", mask_type, "N:M, such as 2:4");
      visit_selection(visit, params, exclude);
      visit("exclude_grouped", exclude_grouped,
            "leave grouped convolutions dense: GPUs have no sparse kernel for them");
      visit("min_channels", min_channels, "leave layers with fewer input channels dense: too narrow to gain");
    }
  };
  explicit NMPruning(const Options& options)
      : Modifier({options.start_epoch, -1}), options_(options), pattern_(parse_n_of_m(options.mask_type)) {
    check(window());
    if (options.min_channels < 1) throw InvalidField("min_channels", "expected at least 1");
  }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    for (auto& parameter : binding.select(options_.params, options_.exclude)) {
      const auto reason = why_not(parameter);
      if (!reason.empty()) {
        binding.state().notes.push_back(options_.mask_type + ": " + parameter.name +
                                        " stays dense: " + reason);
        continue;
      }
      binding.claim("the mask of " + parameter.name, plan_.start, plan_.end);
      selected_.push_back(std::move(parameter));
    }
    if (selected_.empty())
      throw InvalidField("params", "no selected weight can be pruned " + options_.mask_type +
                                       "; see min_channels and exclude_grouped");
    binding.schedule(
        {"sparsity", plan_, names_of(selected_), [this](std::int64_t) { return pattern_.sparsity(); }});
  }

  void begin_step(State& state) override {
    if (state.step != plan_.start) return;
    for (const auto& parameter : selected_) {
      const auto mask = n_of_m_mask(parameter.tensor, pattern_);
      state.masks.set(parameter, mask);
      state.optimizer_access.mask_state(parameter.tensor, mask);
    }
  }

  void finish(State& state) override {
    if (state.step <= plan_.start) throw Error("training stopped before start_epoch: nothing was pruned");
    for (const auto& parameter : selected_)
      if (!obeys(parameter.tensor, pattern_))
        throw Error(parameter.name + " is not " + options_.mask_type + " at the end");
  }

 private:
  std::string why_not(const Parameter& parameter) const {
    const auto channels = parameter.tensor.dim() >= 2 ? parameter.tensor.size(1) : 0;
    if (channels == 0) return "it has no input channels";
    if (options_.exclude_grouped && parameter.groups > 1) return "a grouped convolution";
    if (channels % pattern_.m != 0)
      return std::to_string(channels) + " input channels are not a multiple of " + std::to_string(pattern_.m);
    if (channels < options_.min_channels)
      return "fewer than " + std::to_string(options_.min_channels) + " input channels";
    return "";
  }

  Options options_;
  NofM pattern_;
  StepPlan plan_;
  Parameters selected_;
};

}  // namespace sparsify
