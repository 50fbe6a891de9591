// SPDX-License-Identifier: Apache-2.0
#include "sparseml.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "field_names.hpp"
#include "scalar_types.hpp"
#include "sparseml_scheme.hpp"
#include "written_node.hpp"
#include "sparsify/load_recipe.hpp"

namespace sparsify {
namespace {

using yaml::Kind;
using Fate = SparseMLRule::Fate;
using sparseml::rule_for;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// Rewrites the fields of one entry.
class Adapter {
 public:
  Adapter(const std::string& modifier, yaml::Node& fields, Variables& variables, Diagnostics& diagnostics)
      : modifier_(modifier),
        fields_(fields),
        variables_(variables),
        diagnostics_(diagnostics),
        known_(field_names(modifier)) {}

  void run() {
    drop_nulls();
    adapt_mask_structure();
    std::vector<std::pair<yaml::Ref, yaml::Ref>> kept;
    for (auto& entry : fields_.entries)
      if (keep(entry)) kept.push_back(entry);
    fields_.entries = std::move(kept);
    if (modifier_ == "QuantizationModifier") adapt_quantization();
    if (modifier_ == "LearningRateModifier") adapt_scheduler();
    adapt_mask_type();
    report_twins();
    add_defaults();
    refuse("inter_func", [&](const yaml::Ref& value) { return says(value, "polynomial_decay"); });
    refuse("num_grads", [](const yaml::Ref& value) { return value.node->kind == Kind::kMapping; });
  }

 private:
  void drop_nulls() {
    std::vector<std::pair<yaml::Ref, yaml::Ref>> given;
    for (const auto& entry : fields_.entries) {
      const auto& [key, value] = entry;
      const bool nothing = value.node->kind == Kind::kNull;
      if (!nothing)
        given.push_back(entry);
      else
        diagnostics_.warn(key.mark, key.node->text + " has no value: its default is used");
    }
    fields_.entries = std::move(given);
  }

  bool keep(std::pair<yaml::Ref, yaml::Ref>& entry) {
    const auto field = entry.first.node->text;  // as it was written: for messages
    const auto* rule = rule_for(modifier_, field);
    if (rule && rule->fate == Fate::kRenamed && !is_known(field)) {
      entry.first = renamed(entry.first, rule->note);
      rule = rule_for(modifier_, rule->note);
    }
    if (!rule || rule->fate == Fate::kTranslated || is_known(entry.first.node->text)) return true;
    const bool harmless =
        rule->fate == Fate::kNotNeeded && (rule->only_if.empty() || says(entry.second, rule->only_if));
    if (harmless)
      diagnostics_.warn(entry.first.mark,
                        field + " of SparseML's " + modifier_ + " is not needed: " + rule->note);
    else
      diagnostics_.add(entry.first.mark, field + " of SparseML's " + modifier_ + " is not supported" +
                                             (rule->only_if.empty() ? "" : " unless it is " + rule->only_if) +
                                             ": " + rule->note);
    return false;
  }

  yaml::Ref renamed(const yaml::Ref& key, const std::string& name) {
    auto ref = scalar(name, key.mark);
    written_[ref.node.get()] = key.node->text;
    return ref;
  }

  /// Two names for one field, such as start and start_epoch.
  void report_twins() {
    std::map<std::string, yaml::Ref> firsts;
    const auto written = [&](const yaml::Ref& key) {
      const auto found = written_.find(key.node.get());
      return "'" + (found == written_.end() ? key.node->text : found->second) + "'";
    };
    for (const auto& [key, value] : fields_.entries) {
      const auto [first, is_new] = firsts.emplace(key.node->text, key);
      if (!is_new)
        diagnostics_.add(key.mark, written(key) + " says again what " + written(first->second) + " on line " +
                                       std::to_string(first->second.mark.line + 1) +
                                       " says; expected one of them");
    }
  }

  bool says(const yaml::Ref& value, const std::string& text) {
    try {
      const auto written = variables_.resolve(value, "a value").text;
      return lower(written) == lower(text) || written == text + ".0";
    } catch (const ValueError&) {
      return false;
    }
  }

  bool is_true(const std::string& field, const yaml::Ref& value) {
    try {
      return read_boolean(value, variables_);
    } catch (const ValueError& error) {
      diagnostics_.add(error.mark(), field + ": " + error.what());
      return false;
    }
  }

  bool is_known(const std::string& field) const {
    return std::find(known_.begin(), known_.end(), field) != known_.end();
  }

  std::pair<yaml::Ref, yaml::Ref>* find(const std::string& field) {
    for (auto& entry : fields_.entries)
      if (entry.first.node->text == field) return &entry;
    return nullptr;
  }
  void remove(const std::string& field) {
    auto& entries = fields_.entries;
    entries.erase(std::remove_if(entries.begin(), entries.end(),
                                 [&](const auto& entry) { return entry.first.node->text == field; }),
                  entries.end());
  }
  std::optional<Value> value_of(const std::string& field) {
    auto* entry = find(field);
    if (!entry) return std::nullopt;
    try {
      return read_value(entry->second, variables_);
    } catch (const ValueError& error) {
      diagnostics_.add(error.mark(), field + ": " + error.what());
      return std::nullopt;
    }
  }

  void adapt_quantization() {
    if (auto* tensorrt = find("tensorrt")) {
      if (says(tensorrt->second, "True"))
        fields_.entries.emplace_back(renamed(tensorrt->first, "scheme"),
                                     scalar("gpu", tensorrt->second.mark));
      remove("tensorrt");
    }
    adapt_scheme();
    adapt_reduce_range();
    WeightForms forms(value_of("weight_bits"), scheme_weights_);
    adapt_overrides(forms);
    adapt_config_groups(forms);
    write_weight_forms(forms);
    adapt_ignore();
  }

  void adapt_scheme() {
    const auto scheme = value_of("scheme");
    if (!scheme || !scheme->is(Value::Kind::kMapping)) return;
    auto* entry = find("scheme");
    const SchemeReader read(*scheme);
    if (!read.reason.empty())
      diagnostics_.add(entry->second.mark,
                       "scheme of SparseML's QuantizationModifier is not supported: " + read.reason);
    else
      diagnostics_.warn(entry->second.mark, "scheme: read as '" + read.scheme + "', " + read.weights.text());
    entry->second = scalar(read.scheme, entry->second.mark);
    scheme_weights_ = read.weights;
  }

  /// What it is for, sums that do not saturate on older CPUs, is a scheme here.
  void adapt_reduce_range() {
    const auto* entry = find("reduce_range");
    if (!entry) return;
    const auto value = entry->second;
    remove("reduce_range");
    if (!is_true("reduce_range", value)) return;
    const auto mark = value.mark;
    const auto scheme = value_of("scheme");
    if (scheme && (*scheme == Value("gpu") || *scheme == Value("tensorrt"))) {
      diagnostics_.add(mark, "reduce_range of SparseML's QuantizationModifier is not supported with scheme " +
                                 scheme->text + ": its sums do not saturate");
      return;
    }
    diagnostics_.warn(mark, "reduce_range: read as scheme 'cpu-legacy', with 7-bit weights");
    remove("scheme");
    fields_.entries.emplace_back(scalar("scheme", mark), scalar("cpu-legacy", mark));
    if (const auto* bits = find("weight_bits"); bits && says(bits->second, "8")) remove("weight_bits");
  }

  /// `scheme_overrides: {Linear: null}` leaves layers in floating point; others may have weights of another
  /// form.
  void adapt_overrides(WeightForms& forms) {
    const auto overrides = value_of("scheme_overrides");
    if (!overrides) return;
    const auto mark = find("scheme_overrides")->second.mark;
    remove("scheme_overrides");
    for (const auto& [target, scheme] : overrides->entries) {
      if (scheme.is(Value::Kind::kNone) ||
          (!SchemeReader::part(scheme, "weights") && scheme.is(Value::Kind::kMapping) &&
           target != "LayerNorm" && !is_weightless_type(target))) {
        ignore(target, mark);
        continue;
      }
      if (is_weightless_type(target)) {
        diagnostics_.warn(mark, "scheme_overrides: " + target + " follows the one scheme of the recipe");
        continue;
      }
      SchemeReader read(scheme);
      if (read.reason.empty() && read.scheme != scheme_family())
        read.reason = "activations of another scheme than the recipe's, " + scheme_family();
      if (read.reason.empty())
        forms.add(target, read.weights);
      else
        diagnostics_.add(mark, "scheme_overrides of SparseML's QuantizationModifier is not supported for " +
                                   target + ": " + read.reason);
    }
  }

  /// Groups of layers, each with a scheme: `{group_0: {targets: [Conv2d], weights: ..., input_activations:
  /// ...}}`.
  void adapt_config_groups(WeightForms& forms) {
    const auto groups = value_of("config_groups");
    if (!groups) return;
    const auto mark = find("config_groups")->second.mark;
    remove("config_groups");
    const auto refuse_groups = [&](const std::string& name, const std::string& reason) {
      diagnostics_.add(mark, "config_groups of SparseML's QuantizationModifier is not supported for " + name +
                                 ": " + reason);
    };
    std::string scheme;
    std::vector<std::string> all_targets;
    for (const auto& [name, group] : groups->entries) {
      const auto targets = texts_of(SchemeReader::part(group, "targets"));
      const SchemeReader read(group);
      if (!read.reason.empty()) {
        refuse_groups(name, read.reason);
      } else if (targets.empty()) {
        refuse_groups(name, "it has no targets");
      } else if (!scheme.empty() && scheme != read.scheme) {
        refuse_groups(name, "activations of another scheme than the groups' before, " + scheme);
      } else {
        scheme = read.scheme;
        for (const auto& target : targets) forms.add(target, read.weights), all_targets.push_back(target);
      }
    }
    if (scheme.empty()) return;
    diagnostics_.warn(mark, "config_groups: read as scheme '" + scheme + "' for their targets");
    remove("scheme");
    fields_.entries.emplace_back(scalar("scheme", mark), scalar(scheme, mark));
    for (const auto& target : all_targets) add_to_list("submodules", target, mark);
  }

  static std::vector<std::string> texts_of(const Value* value) {
    std::vector<std::string> texts;
    if (value && value->is(Value::Kind::kText)) texts.push_back(value->text);
    if (value)
      for (const auto& item : value->items) texts.push_back(item.text);
    return texts;
  }

  std::string scheme_family() {
    const auto scheme = value_of("scheme");
    return scheme && (*scheme == Value("gpu") || *scheme == Value("tensorrt")) ? "gpu" : "cpu";
  }

  void write_weight_forms(const WeightForms& forms) {
    if (!forms.are_described()) return;
    const auto mark = fields_.entries.empty() ? yaml::Mark{} : fields_.entries.back().first.mark;
    const auto write = [&](const char* field, const Value& value) {
      remove(field);
      if (!value.is(Value::Kind::kNone))
        fields_.entries.emplace_back(scalar(field, mark), node_of(value, mark));
    };
    write("weight_bits", forms.bits());
    write("weight_strategy", forms.strategy());
  }

  void ignore(const std::string& target, yaml::Mark mark) { add_to_list("ignore", target, mark); }

  void add_to_list(const char* field, const std::string& text, yaml::Mark mark) {
    auto* entry = find(field);
    if (!entry) {
      fields_.entries.emplace_back(scalar(field, mark), node_of(Value::list({}), mark));
      entry = find(field);
    }
    entry->second.node->items.push_back(scalar(text, mark));
  }

  /// Types without weights need not be named: they are never quantized for themselves.
  void adapt_ignore() {
    auto* entry = find("ignore");
    if (!entry || entry->second.node->kind != Kind::kSequence) return;
    auto list = std::make_shared<yaml::Node>(*entry->second.node);
    const auto weightless = [&](const yaml::Ref& item) {
      const bool drop = item.node->kind == Kind::kScalar && is_weightless_type(item.node->text);
      if (drop)
        diagnostics_.warn(item.mark,
                          "ignore: " + item.node->text + " has no weights to leave in floating point");
      return drop;
    };
    list->items.erase(std::remove_if(list->items.begin(), list->items.end(), weightless), list->items.end());
    entry->second.node = list;
    if (list->items.empty()) remove("ignore");
  }

  /// The session engine calls whole outputs channels and whole inputs filters: the other way round.
  void adapt_mask_structure() {
    if (is_known("mask_structure")) return;
    const auto structure = value_of("mask_structure");
    auto* entry = find("mask_structure");
    if (!structure || !entry) return;
    entry->first = renamed(entry->first, "mask_type");
    if (*structure == Value("channel")) entry->second = scalar("filter", entry->second.mark);
    if (*structure == Value("filter")) entry->second = scalar("channel", entry->second.mark);
  }

  /// Reports a value of a field we have that means nothing here, with the rule's reason.
  template <class Test>
  void refuse(const char* field, Test test) {
    const auto* rule = rule_for(modifier_, field);
    const auto* entry = find(field);
    if (rule && entry && test(entry->second))
      diagnostics_.add(entry->second.mark,
                       std::string(field) + " of SparseML's " + modifier_ + ": " + rule->note);
  }

  /// Arguments of CosineAnnealingWarmRestarts.
  void adapt_scheduler() {
    auto* entry = find("lr_kwargs");
    if (!entry || entry->second.node->kind != Kind::kMapping) return;
    auto arguments = std::make_shared<yaml::Node>(*entry->second.node);
    for (auto& [key, value] : arguments->entries) {
      if (key.node->text == "lr_min") key = scalar("eta_min", key.mark);
      if (key.node->text == "cycle_epochs") key = scalar("T_0", key.mark);
    }
    entry->second.node = arguments;
  }

  void add_defaults() {
    const auto mark = fields_.entries.empty() ? fields_.mark : fields_.entries.back().first.mark;
    for (const auto& [modifier, field, value] : sparseml_defaults())
      if (modifier == modifier_ && !find(field))
        fields_.entries.emplace_back(scalar(field, mark), scalar(value, mark));
  }

  void adapt_mask_type() {
    const auto type = value_of("mask_type");
    auto* entry = find("mask_type");
    if (type && entry && *type == Value("0:0")) entry->second = scalar("unstructured", entry->second.mark);
  }

  const std::string& modifier_;
  yaml::Node& fields_;
  Variables& variables_;
  Diagnostics& diagnostics_;
  WeightForm scheme_weights_;                         // of a scheme that was described
  std::vector<std::string> known_;                    // fields our modifier has under the same name
  std::map<const yaml::Node*, std::string> written_;  // keys that were renamed, as they were
};

}  // namespace

namespace sparseml {

bool adapt(std::string& name, yaml::Node& fields, yaml::Mark mark, Variables& variables,
           Diagnostics& diagnostics) {
  const std::string prefix = "pytorch.";
  if (name.rfind(prefix, 0) == 0) name = name.substr(prefix.size());
  if (const auto* rule = rule_for(name, "")) {
    if (rule->fate == Fate::kUnsupported)
      diagnostics.add(mark, "SparseML's " + name + " is not supported: " + rule->note);
    if (rule->fate == Fate::kNotNeeded)
      diagnostics.warn(mark, "SparseML's " + name + " is not needed: " + rule->note);
    if (rule->fate != Fate::kRenamed) return false;
    name = rule->note;
  }
  const auto problems = diagnostics.count();
  Adapter(name, fields, variables, diagnostics).run();
  return diagnostics.count() == problems;
}

}  // namespace sparseml
}  // namespace sparsify
