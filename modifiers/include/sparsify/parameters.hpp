// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace sparsify {

/// A parameter of the bound model, with what is known about the layer it belongs to.
struct Parameter {
  std::string name;
  at::Tensor tensor;
  std::int64_t groups = 1;    ///< of its convolution, 1 elsewhere
  std::string module_type{};  ///< "Conv2d", "Linear"; empty where no module was looked at
  std::string other_name{};   ///< see Recipe::other_name

  /// Weights of linear, embedding and convolution layers: called `weight`, with two dimensions or more.
  bool prunable() const {
    const std::string suffix = "weight";
    return tensor.dim() >= 2 && name.size() >= suffix.size() &&
           name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
  }
};

using Parameters = std::vector<Parameter>;

/// The one of that name, or null.
inline const Parameter* find_named(const Parameters& parameters, const std::string& name) {
  for (const auto& parameter : parameters)
    if (parameter.name == name) return &parameter;
  return nullptr;
}

inline std::int64_t count_zeros(const at::Tensor& tensor) {
  return tensor.numel() - tensor.detach().count_nonzero().item<std::int64_t>();
}

inline std::vector<std::string> names_of(const Parameters& parameters) {
  std::vector<std::string> names;
  for (const auto& parameter : parameters) names.push_back(parameter.name);
  return names;
}

/// Names of modules, the outer ones of each parameter before the inner ones; some more than once.
inline std::vector<std::string> modules_of(const Parameters& parameters) {
  std::vector<std::string> names;
  for (const auto& parameter : parameters) {
    const auto& name = parameter.name;
    for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      names.push_back(name.substr(0, dot));
  }
  return names;
}

inline std::vector<at::Tensor> tensors_of(const Parameters& parameters) {
  std::vector<at::Tensor> tensors;
  for (const auto& parameter : parameters) tensors.push_back(parameter.tensor);
  return tensors;
}

}  // namespace sparsify
