// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "lower/lowering.hpp"

namespace sparsify::onnx {

/// One operator call while it is lowered: typed access to its arguments, and the nodes that it becomes.
class Call {
 public:
  Call(Lowering& lowering, const GraphNode& node)
      : lowering_(lowering), node_(node), name_(node_name(node.site)) {}

  Lowering& lowering() { return lowering_; }
  const GraphNode& node() const { return node_; }
  const std::string& name() const { return name_; }
  std::string op() const { return node_.op.substr(node_.op.find("::") + 2); }

  // Tensors. The input is the first tensor argument, whatever the schema calls it.
  int input() const;
  bool has(const char* argument) const { return node_.value(argument) >= 0; }
  int value(const char* argument) const;
  const std::vector<int>& values(const char* argument) const;
  std::string read() { return lowering_.read(input()); }
  std::string read(const char* argument) { return lowering_.read(value(argument)); }
  const Ints& sizes() const { return sizes(input()); }
  const Ints& sizes(int value) const { return lowering_.graph().values[value].sizes; }
  const Ints& result_sizes(int output = 0) const { return sizes(node_.outputs.at(output)); }
  at::ScalarType type(int value) const { return lowering_.graph().values[value].dtype; }
  std::int64_t rank() const { return static_cast<std::int64_t>(sizes().size()); }

  // Constants; `fallback` when absent or None.
  bool given(const char* argument) const;
  std::int64_t integer(const char* argument, std::int64_t fallback) const;
  double number(const char* argument, double fallback) const;
  bool flag(const char* argument, bool fallback) const;
  std::string text(const char* argument, const std::string& fallback) const;
  Ints ints(const char* argument) const;
  /// A list of `count` numbers, a single one repeated; `fallback` when empty or absent.
  Ints ints(const char* argument, std::size_t count, std::int64_t fallback) const;
  /// A dimension argument, counted from the front.
  std::int64_t dimension(const char* argument, std::int64_t fallback, std::int64_t rank) const;

  /// Adds a node whose output is not yet the call's result.
  std::string emit(const std::string& op, std::vector<std::string> inputs, Attributes attributes = {});
  /// Adds the node whose output is the call's result, with the batch in the same dimension as in the inputs.
  void produce(const std::string& op, std::vector<std::string> inputs, Attributes attributes = {});
  /// The same for an operator that only selects or rearranges elements of its input; the batch moves to
  /// `batch`.
  void rearrange(const std::string& op, std::vector<std::string> inputs, Attributes attributes, int batch);
  void result(const std::string& tensor, int batch) { lowering_.bind(node_.outputs.at(0), tensor, batch); }
  void same() { lowering_.alias(node_.outputs.at(0), input()); }

  std::string integers(const std::string& what, const Ints& values) {
    return lowering_.integers(name_ + "/" + what, values);
  }
  std::string scalar(double value, at::ScalarType type = at::kFloat) {
    return lowering_.scalar(name_ + "/constant", value, type);
  }
  /// The dimension of the batch in the result of an element-wise operator.
  int batch() const;
  int batch(int value) const { return lowering_.batch_dimension(value); }

  /// Throws Error with the operator, its site and why.
  [[noreturn]] void refuse(const std::string& why) const;

 private:
  const c10::IValue* constant(const char* argument) const;

  Lowering& lowering_;
  const GraphNode& node_;
  std::string name_;
};

}  // namespace sparsify::onnx
