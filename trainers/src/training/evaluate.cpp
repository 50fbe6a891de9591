// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "sparsify/trainers/loader.hpp"
#include "sparsify/trainers/trainer.hpp"

namespace sparsify {

void EvaluationSum::add(const torch::Tensor& logits, const torch::Tensor& labels) {
  const auto scores = logits.to(torch::kCPU, torch::kFloat);
  const auto wide = std::min<int64_t>(5, scores.size(1));
  const auto hits = std::get<1>(scores.topk(wide, 1)).eq(labels.unsqueeze(1));
  const auto sum = torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum);
  sum_.images += scores.size(0);
  sum_.loss += torch::nn::functional::cross_entropy(scores, labels, sum).item<double>();
  sum_.top1 += hits.select(1, 0).sum().item<double>();
  sum_.top5 += hits.any(1).sum().item<double>();
}

Evaluation EvaluationSum::mean() const {
  auto mean = sum_;
  const auto images = static_cast<double>(std::max<int64_t>(1, sum_.images));
  mean.loss /= images, mean.top1 /= images, mean.top5 /= images;
  return mean;
}

Evaluation evaluate(const trainers::Datasets& set, int64_t batch_size, int64_t workers,
                    const std::function<torch::Tensor(const torch::Tensor&)>& forward) {
  torch::NoGradGuard no_grad;
  trainers::Loader loader(set.val, trainers::in_order(set, batch_size, workers));
  loader.start_epoch(0);
  EvaluationSum sum;
  while (const auto batch = loader.next()) sum.add(forward(batch->images), batch->labels);
  return sum.mean();
}

}  // namespace sparsify
