// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <c10/util/intrusive_ptr.h>

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace sparsify {

/// What recorder and quantizers need to know about an operator, apart from the values of one call.
struct OperatorFacts {
  std::string name;          ///< "aten::conv2d": without overload, in-place operators under their pure name
  std::string short_name;    ///< "conv2d"
  bool is_view = false;      ///< gives a view of its input (or the input itself)
  bool in_place = false;     ///< writes its first argument
  bool decompose = false;    ///< to be seen as the operators it is made of
  int weight_argument = -1;  ///< index of the weight of a weighted operator
  bool may_transpose =
      false;  ///< its weight may be a 2-d parameter seen through t(), as torch::nn::Linear passes it

  /// Of a weighted operator.
  int input_argument() const { return short_name == "addmm" ? 1 : 0; }
  /// -1: it takes none.
  int bias_argument() const {
    if (short_name == "addmm") return 0;
    return short_name == "conv2d" || short_name == "linear" ? 2 : -1;
  }
};

namespace detail {

// Composite operators that mean something to quantization and export; all others are seen as their parts.
inline bool kept_whole(const std::string& short_name) {
  static const std::unordered_set<std::string> kept = {"conv1d",
                                                       "conv2d",
                                                       "conv3d",
                                                       "conv_transpose1d",
                                                       "conv_transpose2d",
                                                       "conv_transpose3d",
                                                       "linear",
                                                       "matmul",
                                                       "batch_norm",
                                                       "instance_norm",
                                                       "group_norm",
                                                       "layer_norm",
                                                       "dropout",
                                                       "feature_dropout",
                                                       "alpha_dropout",
                                                       "max_pool1d",
                                                       "max_pool2d",
                                                       "max_pool3d",
                                                       "avg_pool1d",
                                                       "adaptive_avg_pool1d",
                                                       "adaptive_avg_pool2d",
                                                       "adaptive_avg_pool3d",
                                                       "flatten",
                                                       "unflatten",
                                                       "reshape",
                                                       "softmax",
                                                       "log_softmax",
                                                       "prelu",
                                                       "selu",
                                                       "bilinear",
                                                       "upsample_nearest1d",
                                                       "upsample_nearest2d",
                                                       "upsample_nearest3d",
                                                       "upsample_bilinear2d",
                                                       "upsample_bicubic2d",
                                                       "upsample_trilinear3d",
                                                       "upsample_linear1d",
                                                       "_upsample_nearest_exact2d",
                                                       "pixel_shuffle",
                                                       "repeat_interleave",
                                                       "scaled_dot_product_attention",
                                                       "where",
                                                       "type_as"};
  return kept.count(short_name) > 0;
}

inline int weight_argument(const std::string& short_name) {
  static const std::unordered_map<std::string, int> weighted = {
      {"conv1d", 1},           {"conv2d", 1},           {"conv3d", 1},      {"conv_transpose1d", 1},
      {"conv_transpose2d", 1}, {"conv_transpose3d", 1}, {"convolution", 1}, {"_convolution", 1},
      {"linear", 1},           {"matmul", 1},           {"mm", 1},          {"addmm", 2}};
  const auto found = weighted.find(short_name);
  return found == weighted.end() ? -1 : found->second;
}

}  // namespace detail

/// Facts by operator, looked up once each.
class Operators {
 public:
  const OperatorFacts& operator()(const c10::OperatorHandle& op) {
    const auto* key = &op.schema();
    const auto known = facts_.find(key);
    if (known != facts_.end()) return known->second;
    return facts_.emplace(key, describe(op)).first->second;
  }

 private:
  static OperatorFacts describe(const c10::OperatorHandle& op) {
    const auto& schema = op.schema();
    OperatorFacts facts;
    facts.name = schema.name();
    const auto& arguments = schema.arguments();
    facts.in_place = !arguments.empty() && arguments[0].alias_info() && arguments[0].alias_info()->isWrite();
    if (facts.in_place && facts.name.back() == '_') facts.name.pop_back();
    facts.short_name = facts.name.substr(facts.name.find("::") + 2);
    const auto& returns = schema.returns();
    facts.is_view = !returns.empty() && returns[0].alias_info() && !returns[0].alias_info()->isWrite();
    facts.weight_argument = detail::weight_argument(facts.short_name);
    facts.may_transpose =
        facts.short_name == "matmul" || facts.short_name == "mm" || facts.short_name == "addmm";
    facts.decompose = op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd) &&
                      !detail::kept_whole(facts.short_name);
    return facts;
  }

  std::unordered_map<const void*, OperatorFacts> facts_;
};

/// Calls `visit` with every tensor inside a value: a tensor, a list of tensors, a list of optional tensors
/// (undefined: absent).
template <class Visit>
void each_tensor(const c10::IValue& value, Visit&& visit) {
  if (value.isTensor()) return visit(value.toTensor());
  if (!value.isList()) return;
  for (const c10::IValue& element : value.toListRef()) {
    if (element.isTensor())
      visit(element.toTensor());
    else if (element.isNone() && value.isOptionalTensorList())
      visit(at::Tensor());
    else
      return;
  }
}

/// Puts `change(tensor)` in the place of every tensor of a value.
template <class Change>
void change_tensors(c10::IValue& value, const Change& change) {
  if (value.isTensor() && value.toTensor().defined()) value = change(value.toTensor());
  if (!value.isTensorList()) return;
  auto tensors = value.toTensorVector();
  for (auto& tensor : tensors)
    if (tensor.defined()) tensor = change(tensor);
  value = c10::IValue(std::move(tensors));
}

/// The memory behind a tensor, to be compared; null: none.
inline const void* storage_of(const at::Tensor& tensor) {
  return tensor.has_storage() ? tensor.storage().unsafeGetStorageImpl() : nullptr;
}

/// Keeps the address of a tensor from being reused, but not its memory.
using TensorOwner = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

/// Whether two tensors with one storage show the same elements of it.
inline bool same_view(const c10::TensorImpl& a, const c10::TensorImpl& b) {
  return a.storage_offset() == b.storage_offset() && a.sizes() == b.sizes() && a.strides() == b.strides() &&
         a.dtype() == b.dtype();
}

/// Whether a value holds tensors (also an empty list of them).
inline bool holds_tensors(const c10::IValue& value) {
  return value.isTensor() || value.isTensorList() || value.isOptionalTensorList();
}

}  // namespace sparsify
