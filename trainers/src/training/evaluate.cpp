// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "sparsify/trainers/loader.hpp"
#include "sparsify/trainers/trainer.hpp"

namespace sparsify {

Evaluation evaluate(const trainers::Datasets& set, int64_t batch_size, int64_t workers,
                    const std::function<torch::Tensor(const torch::Tensor&)>& forward) {
  torch::NoGradGuard no_grad;
  trainers::Loader loader(set.val, trainers::in_order(set, batch_size, workers));
  loader.start_epoch(0);
  Evaluation sum;
  while (const auto batch = loader.next()) {
    const auto logits = forward(batch->images).to(torch::kCPU, torch::kFloat);
    const auto wide = std::min<int64_t>(5, logits.size(1));
    const auto hits = std::get<1>(logits.topk(wide, 1)).eq(batch->labels.unsqueeze(1));
    sum.images += logits.size(0);
    sum.loss +=
        torch::nn::functional::cross_entropy(
            logits, batch->labels, torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum))
            .item<double>();
    sum.top1 += hits.select(1, 0).sum().item<double>();
    sum.top5 += hits.any(1).sum().item<double>();
  }
  const auto images = static_cast<double>(std::max<int64_t>(1, sum.images));
  sum.loss /= images, sum.top1 /= images, sum.top5 /= images;
  return sum;
}

}  // namespace sparsify
