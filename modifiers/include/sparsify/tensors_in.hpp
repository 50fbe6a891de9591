// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <iterator>
#include <tuple>
#include <type_traits>
#include <vector>

namespace sparsify {
namespace detail {

template <class T, class = void>
struct IsRange : std::false_type {};
template <class T>
struct IsRange<T, std::void_t<decltype(std::begin(std::declval<const T&>()))>> : std::true_type {};

template <class T, class = void>
struct IsTuple : std::false_type {};
template <class T>
struct IsTuple<T, std::void_t<decltype(std::tuple_size<T>::value)>> : std::true_type {};

}  // namespace detail

/// Calls `visit` with the tensors in what a forward pass returned: a tensor, or containers, pairs and tuples
/// of such; other types are passed over.
template <class T, class Visit>
void each_tensor_in(const T& result, const Visit& visit) {
  if constexpr (std::is_same_v<T, at::Tensor>)
    visit(result);
  else if constexpr (detail::IsTuple<T>::value)
    std::apply([&](const auto&... part) { (each_tensor_in(part, visit), ...); }, result);
  else if constexpr (detail::IsRange<T>::value)
    for (const auto& part : result) each_tensor_in(part, visit);
}

}  // namespace sparsify
