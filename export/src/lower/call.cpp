// SPDX-License-Identifier: Apache-2.0
#include "lower/call.hpp"

#include <ATen/ATen.h>

#include "sparsify/error.hpp"

namespace sparsify::onnx {

int Call::input() const {
  for (const auto& argument : node_.arguments)
    for (const int value : argument.values)
      if (value >= 0) return value;
  refuse("it has no tensor argument");
}

int Call::value(const char* argument) const {
  const int found = node_.value(argument);
  if (found < 0) refuse(std::string("expected a tensor as argument '") + argument + "'");
  return found;
}

const std::vector<int>& Call::values(const char* argument) const {
  const auto* found = node_.find(argument);
  if (!found || found->values.empty()) refuse(std::string("expected tensors as argument '") + argument + "'");
  return found->values;
}

const c10::IValue* Call::constant(const char* argument) const {
  const auto* found = node_.find(argument);
  return found && found->values.empty() && !found->constant.isNone() ? &found->constant : nullptr;
}

bool Call::given(const char* argument) const { return constant(argument) != nullptr; }

std::int64_t Call::integer(const char* argument, std::int64_t fallback) const {
  const auto* found = constant(argument);
  return found ? found->toScalar().toLong() : fallback;
}

double Call::number(const char* argument, double fallback) const {
  const auto* found = constant(argument);
  return found ? found->toScalar().toDouble() : fallback;
}

bool Call::flag(const char* argument, bool fallback) const {
  const auto* found = constant(argument);
  return found ? found->toScalar().toBool() : fallback;
}

std::string Call::text(const char* argument, const std::string& fallback) const {
  const auto* found = constant(argument);
  return found ? found->toStringRef() : fallback;
}

Ints Call::ints(const char* argument) const {
  const auto* found = constant(argument);
  if (!found) return {};
  if (found->isIntList()) return found->toIntVector();
  if (found->isList()) {
    Ints all;
    for (const c10::IValue& element : found->toListRef()) all.push_back(element.toScalar().toLong());
    return all;
  }
  return {found->toScalar().toLong()};
}

Ints Call::ints(const char* argument, std::size_t count, std::int64_t fallback) const {
  auto list = ints(argument);
  if (list.empty()) list = {fallback};
  if (list.size() == 1) list.assign(count, list[0]);
  if (list.size() != count)
    refuse(std::string("argument '") + argument + "': expected " + std::to_string(count) + " numbers, got " +
           std::to_string(list.size()));
  return list;
}

std::int64_t Call::dimension(const char* argument, std::int64_t fallback, std::int64_t rank) const {
  const auto given = integer(argument, fallback);
  return given < 0 ? given + rank : given;
}

std::string Call::emit(const std::string& op, std::vector<std::string> inputs, Attributes attributes) {
  return lowering_.emit(op, name_ + "/" + op, std::move(inputs), std::move(attributes));
}

void Call::produce(const std::string& op, std::vector<std::string> inputs, Attributes attributes) {
  result(lowering_.emit(op, name_, std::move(inputs), std::move(attributes)), batch());
}

void Call::rearrange(const std::string& op, std::vector<std::string> inputs, Attributes attributes,
                     int batch) {
  const auto tensor = lowering_.emit(op, name_, std::move(inputs), std::move(attributes));
  lowering_.bind(node_.outputs.at(0), tensor, batch, input());
}

// Broadcasting aligns shapes at the end.
int Call::batch() const {
  const auto rank = static_cast<int>(result_sizes().size());
  for (const auto& argument : node_.arguments)
    for (const int value : argument.values)
      if (value >= 0 && batch(value) >= 0) return batch(value) + rank - static_cast<int>(sizes(value).size());
  return -1;
}

void Call::refuse(const std::string& why) const {
  throw Error("cannot export " + node_.op + " at '" + node_.site + "': " + why);
}

}  // namespace sparsify::onnx
