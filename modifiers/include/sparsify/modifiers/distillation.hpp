// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>

#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/registry.hpp"

namespace sparsify {

/// Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531): the loss becomes
/// (1 - hardness) loss + hardness divergence, by default that of classifiers: temperature^2
/// KL(teacher || student) of the softmax of outputs / temperature over the last dimension, averaged over
/// everything else; with several outputs, the mean of their terms. The loop hands over what the teacher gives
/// for the same batch: `step.teach([&] { return teacher->forward(images); })`.
class Distillation : public Modifier {
 public:
  static constexpr const char* kName = "DistillationModifier";
  /// How far the student's outputs are from the teacher's, which have the same number and shapes: a scalar,
  /// differentiable in the student's.
  using Divergence = std::function<at::Tensor(const std::vector<at::Tensor>& student,
                                              const std::vector<at::Tensor>& teacher, double temperature)>;
  struct Options {
    Window window{};
    double hardness = 0.5;
    double temperature = 2.0;
    template <class Visitor>
    void fields(Visitor& visit) {
      window.fields(visit);
      visit("hardness", hardness, "share of the teacher in the loss; the labels have the rest", fraction());
      visit("temperature", temperature,
            "both outputs are divided by it: above 1, unlikely classes count more", above(0));
    }
  };
  explicit Distillation(const Options& options) : Modifier(options.window), options_(options) {
    check(options.window);
  }

  /// For outputs that are no logits of classes. Default: softmax KL of the last dimension, see above.
  void set_divergence(Divergence divergence) { divergence_ = std::move(divergence); }

  void attach(Binding& binding) override {
    plan_ = binding.plan(window());
    binding.claim("what is learnt from the teacher", plan_.start, plan_.end);
    const double hardness = options_.hardness;
    binding.schedule({"distillation", plan_, {}, [hardness](std::int64_t) { return hardness; }});
  }

  void begin_step(State& state) override {
    if (plan_.contains(state.step)) state.needs_teacher = true;
  }

  void forward(State& state, const std::function<void()>& run) override {
    run();
    if (state.training && plan_.contains(state.step)) student_ = state.results;
  }

  at::Tensor loss(State& state, at::Tensor loss) override {
    if (!plan_.contains(state.step)) return loss;
    const auto teacher = std::exchange(state.teacher_results, {});
    const auto student = std::exchange(student_, {});
    if (teacher.empty())
      throw Error("there is no teacher: its outputs are expected from step.teach before step.loss");
    check_same_shapes(student, teacher);
    return loss * (1 - options_.hardness) +
           divergence_(student, teacher, options_.temperature) * options_.hardness;
  }

 private:
  using Outputs = std::vector<at::Tensor>;

  static void check_same_shapes(const Outputs& student, const Outputs& teacher) {
    if (teacher.size() != student.size())
      throw Error("the teacher gives " + std::to_string(teacher.size()) + " outputs, the model " +
                  std::to_string(student.size()));
    for (std::size_t i = 0; i < student.size(); ++i) {
      if (student[i].sizes() == teacher[i].sizes()) continue;
      std::ostringstream message;
      message << "the teacher's output has the shape " << teacher[i].sizes() << ", the model's "
              << student[i].sizes();
      throw Error(message.str());
    }
  }

  static at::Tensor mean_softmax_divergence(const Outputs& student, const Outputs& teacher,
                                            double temperature) {
    auto term = softmax_divergence(student[0], teacher[0], temperature);
    for (std::size_t i = 1; i < student.size(); ++i)
      term = term + softmax_divergence(student[i], teacher[i], temperature);
    return term / static_cast<double>(student.size());
  }

  static at::Tensor softmax_divergence(const at::Tensor& student, const at::Tensor& teacher,
                                       double temperature) {
    const auto log_probability = [&](const at::Tensor& outputs) {
      return at::log_softmax(outputs.to(at::kFloat) / temperature, -1);
    };
    const auto rows = static_cast<double>(student.numel()) / static_cast<double>(student.size(-1));
    return at::kl_div(log_probability(student), log_probability(teacher), at::Reduction::Sum,
                      /*log_target=*/true) *
           (temperature * temperature / rows);
  }

  Options options_;
  StepPlan plan_;
  Divergence divergence_ = mean_softmax_divergence;
  Outputs student_;
};

}  // namespace sparsify
