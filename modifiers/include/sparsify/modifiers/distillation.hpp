// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/kl_div.h>
#include <ATen/ops/log_softmax.h>

#include <sstream>
#include <string>
#include <vector>

#include "sparsify/registry.hpp"

namespace sparsify {

/// Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531): the loss becomes
/// (1 - hardness) loss + hardness temperature^2 KL(teacher || student), of the softmax of outputs /
/// temperature over the last dimension, averaged over everything else. With several outputs: the mean of
/// their terms. The loop hands over what the teacher gives for the same batch: `step.teach([&] { return
/// teacher->forward(images); })`.
class Distillation : public Modifier {
 public:
  static constexpr const char* kName = "DistillationModifier";
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
    if (teacher.size() != student.size())
      throw Error("the teacher gives " + std::to_string(teacher.size()) + " outputs, the model " +
                  std::to_string(student.size()));
    auto term = divergence(student[0], teacher[0]);
    for (std::size_t i = 1; i < student.size(); ++i) term = term + divergence(student[i], teacher[i]);
    const double share = options_.hardness / static_cast<double>(student.size());
    return loss * (1 - options_.hardness) + term * share;
  }

 private:
  at::Tensor divergence(const at::Tensor& student, const at::Tensor& teacher) const {
    if (student.sizes() != teacher.sizes()) {
      std::ostringstream message;
      message << "the teacher's output has the shape " << teacher.sizes() << ", the model's "
              << student.sizes();
      throw Error(message.str());
    }
    const double temperature = options_.temperature;
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
  std::vector<at::Tensor> student_;
};

}  // namespace sparsify
