// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "sparsify/quantization/plan.hpp"

namespace sparsify {

/// Why a layer stays in floating point. Names are for scripts and stay as they are.
struct FloatRule {
  const char* name;
  const char* sentence;
};

namespace float_rules {
// Of the plan.
inline constexpr FloatRule kIgnored{"ignored", "ignored by the recipe"};
inline constexpr FloatRule kOutsideSubmodules{"outside-submodules", "outside the recipe's submodules"};
inline constexpr FloatRule kFloatOutput{"float-output", "its output is an output of the model"};
inline constexpr FloatRule kNoIntegerKernel{"no-integer-kernel", "engines have no integer kernel for it"};
inline constexpr FloatRule kGate{
    "gate", "GPU engines compute the gates of squeeze-and-excitation, one pixel each, in floating point"};
inline constexpr FloatRule kConstantInput{"constant-input", "its input is a constant"};
inline constexpr FloatRule kComputedWeight{"weight-computed", "its weight is computed in the forward pass"};
inline constexpr FloatRule kForeignWeight{"weight-foreign", "its weight is not the model's"};
inline constexpr FloatRule kBufferWeight{"weight-buffer", "its weight is a buffer"};
inline constexpr FloatRule kNotTransposed{"weight-not-transposed",
                                          "its weight is not transposed, as a linear layer's is"};
// Of what is looked at later: an export, a list of all layers.
inline constexpr FloatRule kNotPlanned{"not-planned", "not in the quantization plan"};
inline constexpr FloatRule kNotReached{"not-reached", "not reached by the forward pass"};
inline constexpr FloatRule kNotBegun{"not-begun", "quantization has not begun"};
inline constexpr FloatRule kNotQuantized{"not-quantized", "the recipe does not quantize"};
}  // namespace float_rules

/// `op`: of the layer, "aten::conv_transpose2d"; named where the rule is about it.
inline UnquantizedLayer left_float(const std::string& site, const FloatRule& rule,
                                   const std::string& op = "") {
  const bool names_op = &rule == &float_rules::kNoIntegerKernel && !op.empty();
  return {site, rule.name,
          names_op ? std::string("no integer kernel for ") + op.substr(op.find("::") + 2) : rule.sentence};
}

}  // namespace sparsify
