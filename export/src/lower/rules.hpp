// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "lower/call.hpp"

namespace sparsify::onnx {

/// How one operator becomes ONNX nodes.
using Rule = void (*)(Call&);

struct NamedRule {
  const char* op;  ///< without "aten::"
  Rule lower;
};
using Rules = std::vector<NamedRule>;

// One list per family, each in the file of that name.
const Rules& layer_rules();
const Rules& normalization_rules();
const Rules& activation_rules();
const Rules& arithmetic_rules();
const Rules& pooling_rules();
const Rules& shape_rules();
const Rules& joining_rules();
const Rules& spatial_rules();
const Rules& reduction_rules();

/// The rule for an operator as recorded ("aten::relu"); null when it is not covered.
const Rule* find_rule(const std::string& op);

}  // namespace sparsify::onnx
