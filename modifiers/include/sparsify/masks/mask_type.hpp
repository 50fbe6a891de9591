// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>

#include "sparsify/error.hpp"
#include "sparsify/masks/blocks.hpp"
#include "sparsify/masks/n_of_m.hpp"
#include "sparsify/parameters.hpp"
#include "sparsify/value.hpp"

namespace sparsify {

/// What `mask_type` may be: for messages and for the reference page.
inline constexpr const char* kMaskTypes =
    "unstructured; block4 or [a, b], blocks of a output by b input channels (-1: all); filter; channel; N:M, "
    "such as 2:4 (also tensorrt)";

/// Which weights are removed together.
struct MaskType {
  enum class Kind { kElements, kBlocks, kNofM };
  Kind kind = Kind::kElements;
  BlockShape block{};
  NofM pattern{};

  /// Throws InvalidField("mask_type").
  static MaskType parse(const Value& value) {
    const auto fail = [&]() -> InvalidField {
      return {"mask_type", std::string("expected ") + kMaskTypes + "; got " + describe(value)};
    };
    const auto block = [](BlockShape shape) { return MaskType{Kind::kBlocks, shape, {}}; };
    if (value.is(Value::Kind::kList)) {
      if (value.items.size() != 2) throw fail();
      BlockShape shape;
      for (const auto& item : value.items) {
        const bool whole = item.is(Value::Kind::kNumber) && item.number == std::floor(item.number);
        if (!whole || item.number > 1e6 || (item.number < 1 && item.number != -1)) throw fail();
        (&item == &value.items.front() ? shape.out : shape.in) = static_cast<std::int64_t>(item.number);
      }
      return block(shape);
    }
    if (!value.is(Value::Kind::kText)) throw fail();
    if (value.text == "unstructured") return {};
    if (value.text == "block4") return block({1, 4, false});
    if (value.text == "filter") return block({1, -1, true});
    if (value.text == "channel") return block({-1, 1, true});
    if (value.text == "tensorrt") return {Kind::kNofM, {}, {2, 4}};
    if (value.text.find(':') != std::string::npos) return {Kind::kNofM, {}, parse_n_of_m(value.text)};
    throw fail();
  }

  /// Throws InvalidField("mask_type") unless what is removed together is as large in one layer as in another:
  /// sparsity counts it.
  void check_can_compete() const {
    if (kind == Kind::kBlocks && (block.out < 0 || block.in < 0 || block.all_taps))
      throw InvalidField("mask_type",
                         "whole filters or channels differ in size from layer to layer and cannot compete; "
                         "prune each layer by itself, with MagnitudePruningModifier");
  }

  /// Whether a weight [out, in, ...] is smaller than one block.
  bool is_wider_than(const at::Tensor& weight) const {
    return kind == Kind::kBlocks && weight.dim() >= 2 &&
           (block.in > weight.size(1) || block.out > weight.size(0));
  }

  /// The scores of what is removed together. Under N:M the largest of every group can not be removed.
  at::Tensor units(const at::Tensor& scores, bool keep_sign = false) const {
    if (kind == Kind::kBlocks) return block_scores(scores, block, keep_sign);
    if (kind == Kind::kElements) return scores;
    const auto infinity = std::numeric_limits<float>::infinity();
    return at::where(n_of_m_mask(scores, pattern, keep_sign), infinity, scores.detach());
  }

  /// The mask of a weight, given which of its units are kept.
  at::Tensor mask(const at::Tensor& kept, const at::Tensor& weight) const {
    return kind == Kind::kBlocks ? mask_of_blocks(kept, weight, block) : kept;
  }
};

}  // namespace sparsify
