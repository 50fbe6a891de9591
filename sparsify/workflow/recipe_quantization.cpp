// SPDX-License-Identifier: Apache-2.0
#include "workflow/recipe_quantization.hpp"

#include <algorithm>
#include <map>
#include <variant>

namespace sparsify {
namespace {

using FieldValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>,
                                std::vector<std::int64_t>, Value>;
using Fields = std::map<std::string, FieldValue>;

/// Does the same with a modifier's fields of every kind: `act(name, value)`.
template <class Act>
class EachField : public FieldVisitor {
 public:
  explicit EachField(Act act) : act_(std::move(act)) {}
  void operator()(const char* name, bool& value, const char*) override { act_(name, value); }
  void operator()(const char* name, std::int64_t& value, const char*) override { act_(name, value); }
  void operator()(const char* name, double& value, const char*) override { act_(name, value); }
  void operator()(const char* name, std::string& value, const char*) override { act_(name, value); }
  void operator()(const char* name, std::vector<std::string>& value, const char*) override {
    act_(name, value);
  }
  void operator()(const char* name, std::vector<std::int64_t>& value, const char*) override {
    act_(name, value);
  }
  void operator()(const char* name, Value& value, const char*) override { act_(name, value); }

 private:
  Act act_;
};

// An entry knows its options only as fields.
Quantization::Options options_of(const Recipe::Entry& entry) {
  Fields fields;
  EachField read([&](const char* name, auto& value) { fields[name] = value; });
  entry.visit_fields(read);
  EachField write([&](const char* name, auto& value) {
    value = std::get<std::decay_t<decltype(value)>>(fields.at(name));
  });
  Quantization::Options options;
  FieldVisitor& visit = write;
  options.fields(visit);
  return options;
}

bool exceeds_seven_bits(const Value& bits) {
  if (bits.is(Value::Kind::kNumber)) return bits.number > 7;
  return std::any_of(bits.entries.begin(), bits.entries.end(),
                     [](const auto& entry) { return std::stod(entry.first) > 7; });
}

// When things happen means nothing without training.
void forget_the_schedule(Quantization::Options& options) {
  const Quantization::Options defaults;
  options.start_epoch = defaults.start_epoch;
  options.disable_quantization_observer_epoch = defaults.disable_quantization_observer_epoch;
  options.freeze_bn_stats_epoch = defaults.freeze_bn_stats_epoch;
  options.scale_learning_rate = defaults.scale_learning_rate;
}

}  // namespace

std::optional<Quantization::Options> quantization_of(const Recipe& recipe) {
  for (const auto& entry : recipe.entries())
    if (entry.type == Quantization::kName) return options_of(entry);
  return std::nullopt;
}

std::string quantization_scheme(const Recipe& recipe) {
  const auto options = quantization_of(recipe);
  return options ? Quantization::scheme_of(options->scheme) : "";
}

Quantization::Options requantization(const Recipe& recipe, const std::string& scheme,
                                     const std::string& observer, std::vector<std::string>& notes) {
  auto options = quantization_of(recipe).value_or(Quantization::Options{});
  forget_the_schedule(options);
  options.scheme = scheme;
  options.observer = observer;
  if (Quantization::scheme_of(scheme) == "gpu" && options.symmetric_activations == Value::boolean(false)) {
    options.symmetric_activations = {};
    notes.push_back("symmetric_activations: false is not kept: GPU engines have no zero points");
  }
  if (scheme == kLegacyScheme && exceeds_seven_bits(options.weight_bits)) {
    options.weight_bits = {};
    notes.push_back(
        "weight_bits is not kept: cpu-legacy takes no more than 7 bits, and has 7 in all layers now");
  }
  return options;
}

}  // namespace sparsify
