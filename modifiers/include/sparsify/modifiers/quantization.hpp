// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <cstring>

#include "sparsify/graph/recorder.hpp"
#include "sparsify/quantization/make_plan.hpp"
#include "sparsify/quantization/mode.hpp"
#include "sparsify/quantization/observers.hpp"
#include "sparsify/quantization/plan_text.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Quantization-aware training (Jacob et al. 2018, arXiv 1712.05877): from `start_epoch` on, forward passes
/// round weights and activations to 8-bit grids as the target engine will. The first training pass of the
/// session is recorded, in floating point, and decides where.
class Quantization : public Modifier {
 public:
  static constexpr const char* kName = "QuantizationModifier";
  struct Options {
    double start_epoch = 0;
    std::string scheme = "cpu";
    std::vector<std::string> ignore;
    double disable_quantization_observer_epoch = -1;
    double freeze_bn_stats_epoch = -1;
    double averaging_constant = 0.05;
    std::vector<std::string> submodules{};
    Value weight_bits{};
    std::string observer = "moving_average_minmax";
    template <class Visitor>
    void fields(Visitor& visit) {
      visit("start_epoch", start_epoch, "epoch at which rounding begins; -1: from the beginning",
            epoch_or_minus_one());
      visit(
          "scheme", scheme,
          "target; default and deepsparse are cpu, tensorrt is gpu; cpu-legacy is for x86 without VNNI, with "
          "7-bit weights, whose products do not saturate there",
          one_of(schemes()));
      visit("ignore", ignore,
            "layers left in floating point: selectors as for pruning (module names, __FIRST__, Conv2d)");
      visit("submodules", submodules, "when given, layers outside these modules stay in floating point");
      visit("disable_quantization_observer_epoch", disable_quantization_observer_epoch,
            "epoch at which activation ranges stop moving; -1: never", epoch_or_minus_one());
      visit("freeze_bn_stats_epoch", freeze_bn_stats_epoch,
            "epoch at which batch-norm statistics stop moving; -1: never", epoch_or_minus_one());
      visit("averaging_constant", averaging_constant,
            "weight of each new batch in the moving average of a range", above(0).up_to(1));
      visit(
          "weight_bits", weight_bits,
          "bits of weights, or a mapping from bits to selectors, the first match wins; default: 8, or 7 for "
          "cpu-legacy. Fewer than 8 are stored in 8",
          at_least(2).up_to(8));
      visit("observer", observer,
            "how activation ranges are found; percentile is 99.99 %; all but moving_average_minmax are for "
            "calibration without training",
            one_of(observers()));
    }
  };

  explicit Quantization(const Options& options)
      : Modifier({options.start_epoch, -1}),
        options_(options),
        scheme_(scheme_of(options.scheme)),
        observer_(parse_observer(options.observer)) {
    check(window());
    check_later("disable_quantization_observer_epoch", options.disable_quantization_observer_epoch);
    check_later("freeze_bn_stats_epoch", options.freeze_bn_stats_epoch);
    choose_bits();
  }

  void attach(Binding& binding) override {
    start_ = binding.plan(window()).start;
    const auto step_of = [&](double epoch) {
      return epoch < 0 ? StepPlan::kNever : binding.plan({epoch, -1}).start;
    };
    frozen_ranges_ = step_of(options_.disable_quantization_observer_epoch);
    frozen_statistics_ = step_of(options_.freeze_bn_stats_epoch);
    if (frozen_ranges_ <= start_)
      throw InvalidField("disable_quantization_observer_epoch",
                         "must lie a step or more after start_epoch: no range would be observed");
    binding.claim("quantizers", start_, StepPlan::kNever);
    binding.claim("what operators see", start_, StepPlan::kNever);
    owner_ = binding.owner();
    ignore_ = layers("ignore", options_.ignore, binding.state().parameters);
    submodules_ = layers("submodules", options_.submodules, binding.state().parameters);
    for (auto& tier : bits_.layers)
      tier.params = layers("weight_bits", tier.params, binding.state().parameters);
    binding.schedule({"quantization", binding.plan(window()), candidates(binding.state().parameters)});
    if (frozen_ranges_ != StepPlan::kNever)
      binding.schedule({"ranges fixed", {frozen_ranges_, StepPlan::kNever}, {}});
    if (frozen_statistics_ != StepPlan::kNever)
      binding.schedule({"batch norm fixed", {frozen_statistics_, StepPlan::kNever}, {}});
  }

  void forward(State& state, const std::function<void()>& run) override {
    if (!planned_ && state.training) return record_and_plan(state, run);
    if (!planned_ || (state.training ? state.step < start_ : !quantizers_.saw_data())) return run();
    const QuantizationMode::Settings settings{.training = state.training,
                                              .observe = state.step < frozen_ranges_,
                                              .histograms = histograms_.empty() ? nullptr : &histograms_,
                                              .freeze_batch_norm = state.step >= frozen_statistics_};
    QuantizationMode mode(quantizers_, state.parameters, state.buffers, settings);
    {
      const ModeGuard guard(mode);
      run();
    }
    const auto& seen = mode.finish();
    if (!settings.training || !settings.observe) return;
    for (std::size_t i = 0; i < seen.size(); ++i)
      if (!seen[i].empty()) observe(state, i, seen[i]);
  }

  void finish(State&) override {
    if (!planned_) throw Error("no forward pass ran inside step.forward: there is nothing quantized");
    if (!quantizers_.saw_data()) throw Error("no training step ran after start_epoch: nothing was quantized");
    for (std::size_t i = 0; i < quantizers_.ranges().size(); ++i) quantizers_.grid(static_cast<int>(i));
  }

  void save(StateDict& state) const override {
    if (!planned_) return;
    const auto count = static_cast<std::int64_t>(quantizers_.ranges().size());
    auto extents = at::empty({count, 2}, at::kFloat);
    auto batches = at::empty({count}, at::kLong);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto& range = quantizers_.ranges()[i];
      extents.mutable_data_ptr<float>()[2 * i] = range.extent.low;
      extents.mutable_data_ptr<float>()[2 * i + 1] = range.extent.high;
      batches.mutable_data_ptr<std::int64_t>()[i] = range.batches;
    }
    state["plan"] = text_tensor(to_text(quantizers_.plan())), state["ranges"] = extents,
    state["batches"] = batches;
    if (histograms_.empty()) return;
    auto reaches = at::empty({count}, at::kDouble);
    auto counts = at::empty({count, Histogram::kBins}, at::kLong);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto& histogram = histograms_[static_cast<std::size_t>(i)];
      reaches.mutable_data_ptr<double>()[i] = histogram.reach();
      std::copy(histogram.counts().begin(), histogram.counts().end(),
                counts.mutable_data_ptr<std::int64_t>() + i * Histogram::kBins);
    }
    state["histogram_reaches"] = reaches, state["histogram_counts"] = counts;
  }

  void load(const StateDict& state) override {
    planned_ = false;
    if (!state.count("plan")) return;
    auto plan = plan_from_text(text_of(state.at("plan")));
    if (plan.scheme != scheme_)
      throw Error("the saved session was quantized for " + plan.scheme + ", the recipe says " + scheme_);
    Quantizers loaded(std::move(plan));
    const auto count = static_cast<std::int64_t>(loaded.ranges().size());
    if (!state.count("ranges") || !state.count("batches") || state.at("ranges").numel() != 2 * count ||
        state.at("batches").numel() != count)
      throw Error("the saved session's quantizer ranges do not fit its plan");
    const auto extents = state.at("ranges").cpu().contiguous(),
               batches = state.at("batches").cpu().contiguous();
    for (std::int64_t i = 0; i < count; ++i)
      loaded.ranges()[i] = {
          {extents.const_data_ptr<float>()[2 * i], extents.const_data_ptr<float>()[2 * i + 1]},
          batches.const_data_ptr<std::int64_t>()[i]};
    quantizers_ = std::move(loaded);
    make_histograms();
    load_histograms(state);
    planned_ = true;
  }

  /// Whether the model's forward pass has been recorded, so that there is a plan.
  bool is_planned() const { return planned_; }
  /// Whether quantization has begun and seen data: evaluation is rounded from then on.
  bool active() const { return planned_ && quantizers_.saw_data(); }
  /// Where quantizers are; empty before the first training pass.
  const QuantizationPlan& plan() const { return quantizers_.plan(); }

  /// The plan with all scales and zero points, as evaluation uses them. `state`: of the session, or with the
  /// parameters and buffers of an averaged copy.
  TrainedQuantization trained(const State& state) const {
    TrainedQuantization result{quantizers_.plan(), {}, {}};
    for (std::size_t i = 0; i < quantizers_.ranges().size(); ++i) {
      const auto grid = quantizers_.grid(static_cast<int>(i));
      result.activations.push_back(
          {at::full({1}, grid.scale, at::kFloat), at::full({1}, grid.zero_point, at::kInt)});
    }
    for (std::size_t i = 0; i < result.plan.weights.size(); ++i) {
      const auto name = Quantizers::parameter_of(result.plan.weights[i].site);
      const auto* weight = find_named(state.parameters, name);
      if (!weight) throw Error("the quantization plan names " + name + ", which the model does not have");
      const auto scales =
          layer_scales(quantizers_, static_cast<int>(i), weight->tensor, state.parameters, state.buffers);
      result.weights.push_back({scales, at::zeros_like(scales, at::kInt)});
    }
    return result;
  }

  /// "20 of 21 layers quantized for cpu, 30 activation quantizers", then one line for each layer left out,
  /// with the reason.
  std::string summary() const {
    const auto& plan = quantizers_.plan();
    std::string text = std::to_string(plan.weights.size()) + " of " +
                       std::to_string(plan.weights.size() + plan.unquantized.size()) +
                       " layers quantized for " + plan.scheme + ", " +
                       std::to_string(plan.activations.size()) + " activation quantizers";
    for (const auto& layer : plan.unquantized) text += "\n" + layer.site + " stays float: " + layer.reason;
    return text;
  }

  /// "cpu" or "gpu" for any name of a scheme. Throws InvalidField.
  static std::string scheme_of(const std::string& name) { return choose("scheme", name, schemes()); }

 private:
  static constexpr const char* kLegacy = "cpu-legacy";

  static const Choices<const char*>& schemes() {
    static const Choices<const char*> choices = {{"cpu", "cpu"},   {"default", "cpu"}, {"deepsparse", "cpu"},
                                                 {kLegacy, "cpu"}, {"gpu", "gpu"},     {"tensorrt", "gpu"}};
    return choices;
  }

  void choose_bits() {
    const auto& value = options_.weight_bits;
    bits_.all = options_.scheme == kLegacy ? 7 : 8;
    if (value.is(Value::Kind::kMapping))
      bits_.layers = read_tiers("weight_bits", value);
    else if (!value.is(Value::Kind::kNone))
      bits_.all = checked_bits(value);
    for (const auto& tier : bits_.layers) checked_bits(tier.number);
  }

  static int checked_bits(const Value& value) {
    const double bits = value.number;
    if (!value.is(Value::Kind::kNumber) || !(bits >= 2 && bits <= 8) || bits != std::floor(bits))
      throw InvalidField("weight_bits", "expected 2 to 8 bits, got " + describe(value));
    return static_cast<int>(bits);
  }

  // A batch with infinite values says nothing of the range.
  void observe(State& state, std::size_t quantizer, const Extent& batch) {
    const auto& entry = quantizers_.plan().activations[quantizer];
    if (!std::isfinite(batch.low) || !std::isfinite(batch.high)) {
      const auto note = "quantization: " + entry.site + " had infinite values; such batches do not count";
      if (std::find(state.notes.begin(), state.notes.end(), note) == state.notes.end())
        state.notes.push_back(note);
      return;
    }
    auto& range = quantizers_.ranges()[quantizer];
    if (observer_ == Observer::kMovingAverageMinMax) {
      range.move_towards(batch, options_.averaging_constant);
    } else if (observer_ == Observer::kMinMax) {
      auto whole = range.extent;
      whole.merge(batch);
      range.set(whole);
    } else {
      range.set(range_of(observer_, histograms_[quantizer], entry));
    }
  }

  void make_histograms() {
    histograms_.clear();
    if (needs_histogram(observer_)) histograms_.resize(quantizers_.ranges().size());
  }

  void load_histograms(const StateDict& state) {
    if (histograms_.empty()) return;
    const auto count = static_cast<std::int64_t>(histograms_.size());
    if (!state.count("histogram_reaches") || !state.count("histogram_counts") ||
        state.at("histogram_reaches").numel() != count ||
        state.at("histogram_counts").numel() != count * Histogram::kBins)
      throw Error("the saved session has no histograms, as the recipe's observer needs");
    const auto reaches = state.at("histogram_reaches").cpu().contiguous(),
               counts = state.at("histogram_counts").cpu().contiguous();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto* of_one = counts.const_data_ptr<std::int64_t>() + i * Histogram::kBins;
      histograms_[static_cast<std::size_t>(i)] = {reaches.const_data_ptr<double>()[i],
                                                  {of_one, of_one + Histogram::kBins}};
    }
  }

  void check_later(const char* field, double epoch) const {
    if (epoch == -1) return;
    if (epoch < options_.start_epoch) throw InvalidField(field, "must not lie before start_epoch");
  }

  // A name that matches nothing is found out when the recipe is bound, a kind only once the model has run.
  // Which layer is the first or the last is known here and not there, and other names of layers are.
  static std::vector<std::string> layers(const char* field, const std::vector<std::string>& targets,
                                         const Parameters& parameters) {
    std::vector<std::string> result;
    for (const auto& target : targets) {
      const Selector selector(target);
      const auto chosen = selector.choose(parameters);
      const auto first = std::find(chosen.begin(), chosen.end(), true);
      const bool kind = target == "Conv2d" || target == "Linear";
      if (first == chosen.end() && !kind) throw InvalidField(field, matches_nothing(target, parameters));
      const bool place = target == "__FIRST__" || target == "__LAST__";
      if (!place && !selector.needs_other_names(parameters)) {
        result.push_back(target);
        continue;
      }
      for (std::size_t i = 0; i < chosen.size(); ++i)
        if (chosen[i] && parameters[i].prunable()) result.push_back(parameters[i].name);
    }
    return result;
  }

  // The weights that are rounded if data flow and target permit.
  std::vector<std::string> candidates(const Parameters& parameters) const {
    const auto chosen_by = [&](const std::vector<std::string>& targets) {
      std::vector<bool> any(parameters.size(), false);
      for (const auto& target : targets) {
        const auto chosen = Selector(target).choose(parameters);
        for (std::size_t i = 0; i < chosen.size(); ++i) any[i] = any[i] || chosen[i];
      }
      return any;
    };
    const auto ignored = chosen_by(ignore_), inside = chosen_by(submodules_);
    std::vector<std::string> names;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (parameters[i].prunable() && !ignored[i] && (submodules_.empty() || inside[i]))
        names.push_back(parameters[i].name);
    return names;
  }

  void record_and_plan(State& state, const std::function<void()>& run) {
    const auto graph = record(state.parameters, state.buffers, run);
    try {
      quantizers_ = Quantizers(make_plan(graph, scheme_, ignore_, submodules_, bits_));
    } catch (const Error& error) {
      throw Error(owner_ + ": " + error.what());
    }
    if (quantizers_.plan().weights.empty()) {
      std::string reasons;
      for (const auto& layer : quantizers_.plan().unquantized)
        reasons += "\n  " + layer.site + ": " + layer.reason;
      throw Error("no layer of the model can be quantized: " +
                  (reasons.empty() ? std::string("the forward pass used none of its weights") : reasons));
    }
    make_histograms();
    for (const auto& layer : quantizers_.plan().unquantized)
      state.notes.push_back("quantization: " + layer.site + " stays float: " + layer.reason);
    planned_ = true;
  }

  Options options_;
  std::string scheme_, owner_;
  Observer observer_;
  std::vector<std::string> ignore_, submodules_;
  WeightBits bits_;
  std::int64_t start_ = 0, frozen_ranges_ = StepPlan::kNever, frozen_statistics_ = StepPlan::kNever;
  bool planned_ = false;
  Quantizers quantizers_;
  std::vector<Histogram> histograms_;  ///< as quantizers_' ranges; empty: the observer needs none
};

}  // namespace sparsify
