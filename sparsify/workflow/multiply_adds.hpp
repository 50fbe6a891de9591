// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sparsify/graph/graph.hpp"

namespace sparsify {

/// The multiply-adds of each convolution and linear layer in a recorded pass over one image, by the name of
/// its weight; the sum over all calls where several share it.
std::map<std::string, std::int64_t> multiply_adds(const Graph& graph);

}  // namespace sparsify
