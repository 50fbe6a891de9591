// SPDX-License-Identifier: Apache-2.0
#include "lower/rules.hpp"

#include <map>

namespace sparsify::onnx {
namespace {

std::map<std::string, Rule> collect() {
  std::map<std::string, Rule> all;
  for (const auto* family :
       {&layer_rules(), &normalization_rules(), &activation_rules(), &arithmetic_rules(), &pooling_rules(),
        &shape_rules(), &joining_rules(), &spatial_rules(), &reduction_rules()})
    for (const auto& rule : *family) all["aten::" + std::string(rule.op)] = rule.lower;
  return all;
}

}  // namespace

const Rule* find_rule(const std::string& op) {
  static const auto all = collect();
  const auto found = all.find(op);
  return found == all.end() ? nullptr : &found->second;
}

}  // namespace sparsify::onnx
