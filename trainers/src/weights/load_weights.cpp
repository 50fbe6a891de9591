// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "sparsify/error.hpp"
#include "sparsify/trainers/weights.hpp"

namespace sparsify {
namespace {

/// What stands between weights and a module, and what may stay as it is.
struct Comparison {
  std::vector<std::string> missing, unexpected, different;
  std::vector<std::string> kept;
};

bool fits(const torch::Tensor& own, const torch::Tensor& given) {
  return own.sizes() == given.sizes() && own.is_floating_point() == given.is_floating_point();
}

std::string describe(const torch::Tensor& tensor) {
  std::string text = "[";
  for (const auto size : tensor.sizes()) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]" + (tensor.is_floating_point() ? "" : " of integers");
}

// The prefix of the last registered parameter: "fc." or "classifier.1.".
std::string classifier_prefix(const torch::nn::Module& module) {
  const auto parameters = module.named_parameters();
  if (parameters.is_empty()) return "";
  const auto& last = parameters.back().key();
  const auto dot = last.rfind('.');
  return dot == std::string::npos ? last : last.substr(0, dot + 1);
}

Comparison compare(const torch::nn::Module& module, const StateDict& weights, const LoadOptions& options) {
  Comparison result;
  const auto own = state_dict(module);
  const auto classifier = options.allow_new_classifier ? classifier_prefix(module) : "";
  const auto is_new = [&](const std::string& name) {
    return !classifier.empty() && name.starts_with(classifier);
  };
  for (const auto& [name, tensor] : own) {
    const auto given = weights.find(name);
    if (given == weights.end()) {
      const bool may_stay = is_new(name) || name.ends_with("num_batches_tracked");
      (may_stay ? result.kept : result.missing).push_back(name);
    } else if (!fits(tensor, given->second)) {
      const auto difference =
          name + " (model " + describe(tensor) + ", weights " + describe(given->second) + ")";
      if (is_new(name))
        result.kept.push_back(name);
      else
        result.different.push_back(difference);
    }
  }
  for (const auto& [name, tensor] : weights) {
    if (own.count(name) == 0) result.unexpected.push_back(name);
  }
  return result;
}

std::string summary(const std::vector<std::string>& names, const char* what) {
  constexpr size_t kShown = 5;
  if (names.empty()) return "";
  std::string text = "; " + std::to_string(names.size()) + " " + what + ": ";
  for (size_t i = 0; i < std::min(kShown, names.size()); ++i) text += (i > 0 ? ", " : "") + names[i];
  return names.size() > kShown ? text + ", ..." : text;
}

}  // namespace

StateDict state_dict(const torch::nn::Module& module) {
  StateDict entries;
  for (const auto& parameter : module.named_parameters())
    entries[parameter.key()] = parameter.value().detach();
  for (const auto& buffer : module.named_buffers()) {
    if (buffer.value().defined()) entries[buffer.key()] = buffer.value().detach();
  }
  return entries;
}

LoadReport load_weights(torch::nn::Module& module, const StateDict& weights, const LoadOptions& options) {
  auto comparison = compare(module, weights, options);
  if (!comparison.missing.empty() || !comparison.unexpected.empty() || !comparison.different.empty()) {
    throw Error("the weights do not fit the model" + summary(comparison.missing, "missing") +
                summary(comparison.unexpected, "unexpected") +
                summary(comparison.different, "of another shape"));
  }
  torch::NoGradGuard no_grad;
  LoadReport report;
  report.not_loaded = std::move(comparison.kept);
  for (auto& [name, tensor] : state_dict(module)) {
    const bool kept =
        std::find(report.not_loaded.begin(), report.not_loaded.end(), name) != report.not_loaded.end();
    if (kept) continue;
    auto target = tensor;
    target.copy_(weights.at(name));
    ++report.loaded;
  }
  return report;
}

}  // namespace sparsify
