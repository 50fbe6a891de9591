// SPDX-License-Identifier: Apache-2.0
#include "workflow/parity.hpp"

#include <torch/torch.h>

#include <cmath>

#include "sparsify/error.hpp"
#include "sparsify/onnx/parity.hpp"
#include "workflow/metric_names.hpp"
#include "workflow/problems.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

void add(onnx::OutputDifferences& differences, const Outputs& trained, const Outputs& engine) {
  if (trained.size() != engine.size())
    throw Error("the exported model has " + std::to_string(engine.size()) + " outputs, the trained model " +
                std::to_string(trained.size()));
  for (std::size_t i = 0; i < trained.size(); ++i) differences.add(engine[i], trained[i]);
}

Outputs on_cpu(Outputs outputs) {
  for (auto& output : outputs) output = output.to(at::kCPU, at::kFloat);
  return outputs;
}

/// How far an export may be from the model it was made of. Of a detector mAP counts: single steps of the
/// first layers grow over its depth, and many of its scores lie near the one from which a box is shown.
struct Tolerance {
  double metric, agreement;
};

Tolerance tolerance(const std::string& metric) {
  return metric == "top1" ? Tolerance{0.002, 0.99} : Tolerance{0.005, 0.80};
}

}  // namespace

Forward reporting(Forward forward, std::string what, std::int64_t of, ImageProgress progress) {
  if (!progress) return forward;
  return [=, done = std::int64_t{0}](const at::Tensor& images) mutable {
    auto result = forward(images);
    progress(what, done += images.size(0), of);
    return result;
  };
}

Parity compare(Validation& validation, const Forward& trained_forward, const Forward& engine_forward,
               const ImageProgress& progress) {
  const torch::NoGradGuard no_grad;
  const auto trained =
      reporting(trained_forward, "trained and exported model", validation.images(), progress);
  onnx::OutputDifferences differences;
  Equal decisions;
  while (const auto images = validation.next()) {
    const auto expected = on_cpu(trained(*images)), found = on_cpu(engine_forward(*images));
    add(differences, expected, found);
    validation.add(0, expected), validation.add(1, found);
    const auto equal = validation.compare(expected, found);
    decisions.equal += equal.equal, decisions.of += equal.of;
  }
  Parity parity;
  parity.metric = validation.metric();
  parity.trained = validation.result(0), parity.engine = validation.result(1);
  parity.agreement = decisions.of > 0 ? decisions.equal / decisions.of : 1;
  parity.max_difference = differences.largest(), parity.mean_difference = differences.mean();
  return parity;
}

std::vector<std::string> complaints(const Parity& parity, const std::string& engine) {
  std::vector<std::string> found;
  const auto allowed = tolerance(parity.metric);
  if (std::abs(parity.engine_metric() - parity.trained_metric()) > allowed.metric + 1e-9)
    found.push_back(engine + " reaches " + format_percent(parity.engine_metric()) + " " +
                    label_of(parity.metric) + " with the exported model, the trained model " +
                    format_percent(parity.trained_metric()));
  if (parity.agreement < allowed.agreement)
    found.push_back(engine + " decides like the trained model for only " + format_percent(parity.agreement) +
                    " of the " + decisions_of(parity.metric));
  return found;
}

void require_agreement(const std::vector<std::string>& complaints, const std::string& remark) {
  if (complaints.empty()) return;
  Problems problems;
  for (const auto& complaint : complaints) problems.add(complaint);
  if (!remark.empty()) problems.add(remark);
  throw Error(problems.text());
}

}  // namespace sparsify
