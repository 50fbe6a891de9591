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
#include "sparsify/quantization/options.hpp"
#include "sparsify/quantization/plan_text.hpp"
#include "sparsify/registry.hpp"

namespace sparsify {

/// Quantization-aware training (Jacob et al. 2018, arXiv 1712.05877): from `start_epoch` on, forward passes
/// round weights and activations to 8-bit grids as the target engine will. The first training pass of the
/// session is recorded, in floating point, and decides where.
class Quantization : public Modifier {
 public:
  static constexpr const char* kName = "QuantizationModifier";
  using Options = QuantizationOptions;

  explicit Quantization(const Options& options)
      : Modifier({options.start_epoch, -1}),
        options_(options),
        scheme_(scheme_of(options.scheme)),
        observer_(parse_observer(options.observer)) {
    check(window());
    check_later("disable_quantization_observer_epoch", options.disable_quantization_observer_epoch);
    check_later("freeze_bn_stats_epoch", options.freeze_bn_stats_epoch);
    if (options.scale_learning_rate != -1 && observer_ != Observer::kLsq)
      throw InvalidField("scale_learning_rate", "is for observer: lsq");
    choose_forms();
  }

  void attach(Binding& binding) override {
    auto plan = binding.plan(window());
    if (const auto calibration = options_.calibration_steps; calibration > 0) {
      start_ = std::max(plan.start, calibration + 1);  // the first pass of all is recorded
      first_observed_ = start_ - calibration;
      binding.schedule({"ranges observed", {first_observed_, start_}, {}});
    } else {
      start_ = first_observed_ = plan.start;
    }
    plan.start = start_;
    const auto step_of = [&](double epoch) {
      return epoch < 0 ? StepPlan::kNever : binding.plan({epoch, -1}).start;
    };
    frozen_ranges_ = step_of(options_.disable_quantization_observer_epoch);
    frozen_statistics_ = step_of(options_.freeze_bn_stats_epoch);
    if (frozen_ranges_ <= first_observed_)
      throw InvalidField("disable_quantization_observer_epoch",
                         "must lie a step or more after start_epoch: no range would be observed");
    binding.claim("quantizers", first_observed_, StepPlan::kNever);
    binding.claim("what operators see", first_observed_, StepPlan::kNever);
    owner_ = binding.owner();
    ignore_ = layers("ignore", options_.ignore, binding.state().parameters);
    submodules_ =
        layers("submodules", options_.submodules, binding.state().parameters, binding.state().modules);
    if (submodules_.empty() && !options_.submodules.empty())
      throw InvalidField("submodules", "none of these modules has a layer to quantize");
    for (auto& tier : forms_.bits.layers)
      tier.params = layers("weight_bits", tier.params, binding.state().parameters);
    forms_.per_tensor = layers("weight_strategy", forms_.per_tensor, binding.state().parameters);
    binding.schedule({"quantization", plan, candidates(binding.state().parameters)});
    if (frozen_ranges_ != StepPlan::kNever)
      binding.schedule({"ranges fixed", {frozen_ranges_, StepPlan::kNever}, {}});
    if (frozen_statistics_ != StepPlan::kNever)
      binding.schedule({"batch norm fixed", {frozen_statistics_, StepPlan::kNever}, {}});
  }

  void forward(State& state, const std::function<void()>& run) override {
    if (!planned_ && state.training) return record_and_plan(state, run);
    const bool observes = state.calibrating || (state.step >= first_observed_ && state.step < frozen_ranges_);
    const bool rounds = !state.calibrating && state.step >= start_;
    if (!planned_ || (state.training ? !observes && !rounds : !active())) return run();
    const bool learns = state.training && rounds && observer_ == Observer::kLsq && observes;
    if (learns) scales_.begin(quantizers_);
    QuantizationMode::Settings settings;
    settings.activations.training = state.training;
    settings.activations.observe = observes;
    settings.activations.histograms = histograms_.empty() ? nullptr : &histograms_;
    settings.activations.round = rounds || !state.training;
    settings.activations.scale_gradients = learns ? &scales_.gradients() : nullptr;
    settings.freeze_batch_norm = state.step >= frozen_statistics_;
    settings.activations.watch = state.training ? nullptr : watch_;
    QuantizationMode mode(quantizers_, state.parameters, state.buffers, settings);
    {
      const ModeGuard guard(mode);
      run();
    }
    const auto& seen = mode.finish(state.results);
    if (!state.training) return;
    is_active_ = is_active_ || rounds || state.calibrating;
    if (!observes) return;
    for (std::size_t i = 0; i < seen.size(); ++i)
      if (!seen[i].empty() && !scales_.learns(i)) observe(state, i, seen[i]);
  }

  void gradients(State& state) override {
    if (observer_ != Observer::kLsq || state.step >= frozen_ranges_) return;
    const double rate = options_.scale_learning_rate;
    scales_.step(quantizers_, rate >= 0 ? rate : state.optimizer->param_groups().front().options().get_lr());
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
    state["is_active"] = at::scalar_tensor(is_active_, at::kBool);
    if (observer_ == Observer::kLsq) state["scale_velocities"] = scales_.state();
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
    planned_ = is_active_ = false;
    scales_ = {};
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
    const auto is_active = state.find("is_active");
    is_active_ = is_active == state.end() || is_active->second.item<bool>();
    if (const auto velocities = state.find("scale_velocities"); learns_scales() && velocities != state.end())
      scales_.load(velocities->second);
    planned_ = true;
  }

  /// Whether the model's forward pass has been recorded, so that there is a plan.
  bool is_planned() const { return planned_; }
  /// Whether quantization has begun and seen data: evaluation is rounded from then on.
  bool active() const { return planned_ && is_active_ && quantizers_.saw_data(); }
  /// Plan and ranges at work, for what is done without training.
  const Quantizers& quantizers() const { return quantizers_; }
  /// Whether scales are learned by gradient.
  bool learns_scales() const { return observer_ == Observer::kLsq; }
  /// As in the recipe.
  std::int64_t calibration_steps() const { return options_.calibration_steps; }
  /// Where quantizers are; empty before the first training pass.
  const QuantizationPlan& plan() const { return quantizers_.plan(); }

  /// Shows every tensor that evaluation rounds, from now on; null: no more.
  void watch(RoundedActivations::Watch watch) { watch_ = std::move(watch); }

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
    for (const auto& layer : plan.unquantized) text += "\n" + layer.site + " stays float: " + layer.why();
    return text;
  }

  /// "cpu" or "gpu" for any name of a scheme. Throws InvalidField.
  static std::string scheme_of(const std::string& name) {
    return choose("scheme", name, quantization_schemes());
  }

 private:
  void choose_forms() {
    forms_.bits = read_weight_bits(options_.weight_bits, options_.scheme == kLegacyScheme ? 7 : 8);
    read_weight_strategy(options_.weight_strategy, forms_);
    const auto& symmetric = options_.symmetric_activations;
    if (!symmetric.is(Value::Kind::kNone) && !symmetric.is(Value::Kind::kBoolean))
      throw InvalidField("symmetric_activations", "expected true or false, got " + describe(symmetric));
    forms_.symmetric = symmetric.is(Value::Kind::kBoolean) && symmetric.number != 0;
    if (scheme_ == "gpu" && symmetric == Value::boolean(false))
      throw InvalidField("symmetric_activations",
                         "GPU engines have no zero points: expected true with scheme gpu");
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
    if (observer_ == Observer::kMovingAverageMinMax || observer_ == Observer::kLsq) {
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
  // Which layer is the first or the last is known here and not there, and other names of layers are. Names of
  // `modules` without layers are left out: SparseML's recipes list all that a network has.
  static std::vector<std::string> layers(const char* field, const std::vector<std::string>& targets,
                                         const Parameters& parameters,
                                         const std::vector<std::string>& modules = {}) {
    std::vector<std::string> result;
    for (const auto& target : targets) {
      const Selector selector(target);
      const auto chosen = selector.choose(parameters);
      const auto first = std::find(chosen.begin(), chosen.end(), true);
      const bool kind = target == "Conv2d" || target == "Linear";
      if (first == chosen.end() && !kind) {
        if (std::find(modules.begin(), modules.end(), target) != modules.end()) continue;
        throw InvalidField(field, matches_nothing(target, parameters));
      }
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
    const auto graph = record(state.parameters, state.buffers, run, state.results);
    try {
      quantizers_ = Quantizers(make_plan(graph, scheme_, ignore_, submodules_, forms_));
    } catch (const Error& error) {
      throw Error(owner_ + ": " + error.what());
    }
    if (quantizers_.plan().weights.empty()) {
      std::string reasons;
      for (const auto& layer : quantizers_.plan().unquantized)
        reasons += "\n  " + layer.site + ": " + layer.why();
      throw Error("no layer of the model can be quantized: " +
                  (reasons.empty() ? std::string("the forward pass used none of its weights") : reasons));
    }
    make_histograms();
    for (const auto& layer : quantizers_.plan().unquantized)
      state.notes.push_back("quantization: " + layer.site + " stays float: " + layer.why());
    planned_ = true;
  }

  Options options_;
  std::string scheme_, owner_;
  Observer observer_;
  std::vector<std::string> ignore_, submodules_;
  SchemeOptions forms_;
  std::int64_t start_ = 0, first_observed_ = 0, frozen_ranges_ = StepPlan::kNever,
               frozen_statistics_ = StepPlan::kNever;
  bool planned_ = false, is_active_ = false;
  Quantizers quantizers_;
  LearnedScales scales_;
  RoundedActivations::Watch watch_;
  std::vector<Histogram> histograms_;  ///< as quantizers_' ranges; empty: the observer needs none
};

}  // namespace sparsify
