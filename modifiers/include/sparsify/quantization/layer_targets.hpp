// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "sparsify/error.hpp"
#include "sparsify/graph/graph.hpp"
#include "sparsify/selectors.hpp"

namespace sparsify {
namespace detail {

/// Layers named by selectors as for pruning, or by kind (Conv2d, Linear).
class LayerTargets {
 public:
  LayerTargets(const char* field, const std::vector<std::string>& texts)
      : field_(field), texts_(texts), used_(texts.size(), false) {}

  bool empty() const { return texts_.empty(); }
  bool match(const GraphNode& node, const GraphValue& weight) {
    bool any = false;
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      const bool kind = (texts_[i] == "Conv2d" && node.op == "aten::conv2d") ||
                        (texts_[i] == "Linear" && node.op == "aten::linear");
      if (!kind && !Selector(texts_[i]).matches({weight.name, weight.tensor})) continue;
      any = used_[i] = true;
    }
    return any;
  }
  /// Throws InvalidField for a target that matched no layer.
  void check_used() const {
    for (std::size_t i = 0; i < texts_.size(); ++i)
      if (!used_[i]) throw InvalidField(field_, "'" + texts_[i] + "' matches no convolution or linear layer");
  }

 private:
  const char* field_;
  std::vector<std::string> texts_;
  std::vector<bool> used_;
};

}  // namespace detail
}  // namespace sparsify
