// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "sparsify/masks/bracket.hpp"

namespace sparsify {
namespace detail {

/// Tensors as flat float32 in CPU memory, with masks of their layout to be written.
struct Prepared {
  std::vector<at::Tensor> values, masks;
  Spans spans;
  std::int64_t elements = 0, pruned = 0;

  Prepared(const std::vector<at::Tensor>& tensors, std::int64_t wanted) {
    for (const auto& tensor : tensors) {
      auto plain = tensor.detach().to(at::kCPU, at::kFloat);
      if (!plain.is_non_overlapping_and_dense()) plain = plain.contiguous();
      masks.push_back(at::empty_like(plain, plain.options().dtype(at::kBool)));
      spans.push_back({plain.const_data_ptr<float>(), masks.back().mutable_data_ptr<bool>(), plain.numel()});
      elements += plain.numel();
      values.push_back(std::move(plain));
    }
    pruned = std::clamp<std::int64_t>(wanted, 0, elements);
  }
};

template <class Order>
void select(const Spans& spans, std::int64_t elements, std::int64_t pruned) {
  if (pruned == 0 || pruned == elements)
    for (const auto& span : spans) std::fill_n(span.keep, span.count, pruned == 0);
  else if (!write_masks_in_one_pass<Order>(spans, guess_bracket<Order>(spans, elements, pruned), pruned))
    write_masks<Order>(spans, radix_threshold<Order>(spans, pruned));
}

template <class Order>
std::vector<std::vector<at::Tensor>> smallest_masks(const std::vector<std::vector<at::Tensor>>& sets,
                                                    const std::vector<std::int64_t>& pruned) {
  at::NoGradGuard no_grad;
  std::vector<Prepared> prepared;
  std::int64_t total = 0, largest = 0;
  for (std::size_t s = 0; s < sets.size(); ++s) {
    prepared.emplace_back(sets[s], pruned[s]);
    total += prepared.back().elements;
    largest = std::max(largest, prepared.back().elements);
  }
  // A thread for each set keeps all busy, unless one set is most of the work.
  const auto count = static_cast<std::int64_t>(sets.size()), threads = threads_for(total);
#pragma omp parallel for schedule(dynamic) \
    num_threads(static_cast<int>(threads)) if (threads > 1 && largest <= total / threads)
  for (std::int64_t s = 0; s < count; ++s) {
    const auto& set = prepared[static_cast<std::size_t>(s)];
    select<Order>(set.spans, set.elements, set.pruned);
  }
  std::vector<std::vector<at::Tensor>> masks;
  for (std::size_t s = 0; s < sets.size(); ++s) {
    masks.push_back(std::move(prepared[s].masks));
    for (std::size_t t = 0; t < sets[s].size(); ++t) masks[s][t] = masks[s][t].to(sets[s][t].device());
  }
  return masks;
}

}  // namespace detail

/// For each set of tensors the masks that prune exactly `pruned` elements of smallest magnitude over all
/// tensors of that set together.
///
/// Equal magnitudes are pruned in order of tensor and memory, so the result does not depend on threads. NaN
/// counts as the largest magnitude. One pass over memory, no sorting. Masks have the layout of their tensors.
/// Tensors on another device or of another type are computed through float32 on the CPU.
inline std::vector<std::vector<at::Tensor>> smallest_magnitude_masks(
    const std::vector<std::vector<at::Tensor>>& sets, const std::vector<std::int64_t>& pruned) {
  return detail::smallest_masks<detail::ByMagnitude>(sets, pruned);
}

/// The same by value: scores below zero are pruned first.
inline std::vector<std::vector<at::Tensor>> smallest_value_masks(
    const std::vector<std::vector<at::Tensor>>& sets, const std::vector<std::int64_t>& pruned) {
  return detail::smallest_masks<detail::ByValue>(sets, pruned);
}

}  // namespace sparsify
