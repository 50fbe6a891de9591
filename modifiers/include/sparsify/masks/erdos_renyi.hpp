// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace sparsify {

/// How a sparsity over all is spread over layers.
enum class Spread {
  kUniform,           ///< the same in every layer
  kErdosRenyi,        ///< density in proportion to (in + out) / (in * out)
  kErdosRenyiKernel,  ///< the same with the kernel's sides counted in (RigL, arXiv 1911.11134)
};

/// The sparsity of each weight, so that all together have `sparsity`; layers that would be denser than dense
/// stay dense and the others make up for it.
inline std::vector<double> spread_sparsity(Spread spread, const std::vector<at::Tensor>& weights,
                                           double sparsity) {
  std::vector<double> raw;  // density up to a common factor
  for (const auto& weight : weights) {
    double sides = 0, volume = 1;
    for (std::int64_t d = 0; d < weight.dim(); ++d) {
      if (d >= 2 && spread == Spread::kErdosRenyi) break;
      sides += static_cast<double>(weight.size(d)), volume *= static_cast<double>(weight.size(d));
    }
    raw.push_back(spread == Spread::kUniform || volume == 0 ? 1 : sides / volume);
  }
  std::vector<bool> dense(weights.size(), false);
  for (;;) {
    double wanted = 0, weighted = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const auto elements = static_cast<double>(weights[i].numel());
      wanted += elements * ((1 - sparsity) - (dense[i] ? 1 : 0));
      if (!dense[i]) weighted += raw[i] * elements;
    }
    const double factor = weighted > 0 ? std::max(0.0, wanted) / weighted : 0;
    bool settled = true;
    for (std::size_t i = 0; i < weights.size(); ++i)
      if (!dense[i] && raw[i] * factor > 1) dense[i] = true, settled = false;
    if (!settled) continue;
    std::vector<double> result;
    for (std::size_t i = 0; i < weights.size(); ++i) result.push_back(dense[i] ? 0 : 1 - raw[i] * factor);
    return result;
  }
}

}  // namespace sparsify
