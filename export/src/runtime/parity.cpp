// SPDX-License-Identifier: Apache-2.0
#include "sparsify/onnx/parity.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "sparsify/error.hpp"

namespace sparsify::onnx {
namespace {

struct Sums {
  std::int64_t samples = 0, decisions = 0, equal = 0, labelled = 0, reference_right = 0, engine_right = 0;
};

std::int64_t count(const at::Tensor& condition) { return condition.sum().item<std::int64_t>(); }

void add(Sums& sums, const at::Tensor& actual, const at::Tensor& expected, const at::Tensor& labels) {
  sums.samples += actual.size(0);
  if (actual.dim() < 2 || actual.numel() == 0) return;
  const auto chosen = actual.argmax(1), wanted = expected.argmax(1);
  sums.decisions += chosen.numel();
  sums.equal += count(chosen == wanted);
  if (!labels.defined() || actual.dim() != 2) return;
  const auto truth = labels.to(at::kCPU, at::kLong).flatten();
  sums.labelled += truth.numel();
  sums.reference_right += count(wanted == truth);
  sums.engine_right += count(chosen == truth);
}

double share(std::int64_t part, std::int64_t all) {
  return static_cast<double>(part) / static_cast<double>(all);
}

}  // namespace

void OutputDifferences::add(const at::Tensor& engine, const at::Tensor& reference) {
  if (engine.sizes() != reference.sizes())
    throw Error("the engine's output has " + std::to_string(engine.numel()) + " elements in " +
                std::to_string(engine.dim()) + " dimensions, the model's " +
                std::to_string(reference.numel()) + " in " + std::to_string(reference.dim()));
  if (engine.numel() == 0) return;
  const auto difference = (engine.to(at::kCPU, at::kDouble) - reference.to(at::kCPU, at::kDouble)).abs();
  largest_ = std::max(largest_, difference.max().item<double>());
  sum_ += difference.sum().item<double>();
  elements_ += static_cast<double>(difference.numel());
}

double OutputDifferences::mean() const { return sum_ / std::max(1.0, elements_); }

ParityReport compare(const Forward& engine, const Forward& reference, const NextBatch& next) {
  const at::NoGradGuard no_grad;
  Sums sums;
  OutputDifferences differences;
  at::Tensor input, labels;
  while (next(input, labels)) {
    const auto actual = engine(input).to(at::kCPU, at::kDouble),
               expected = reference(input).to(at::kCPU, at::kDouble);
    differences.add(actual, expected);
    add(sums, actual, expected, labels);
    labels = at::Tensor();
  }
  if (sums.samples == 0) throw Error("parity: there was nothing to compare on");
  ParityReport report;
  report.samples = sums.samples;
  report.agreement = sums.decisions ? share(sums.equal, sums.decisions) : 1;
  report.max_difference = differences.largest();
  report.mean_difference = differences.mean();
  if (sums.labelled) {
    report.reference_accuracy = share(sums.reference_right, sums.labelled);
    report.engine_accuracy = share(sums.engine_right, sums.labelled);
  }
  return report;
}

}  // namespace sparsify::onnx
