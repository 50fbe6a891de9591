// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "argument.hpp"
#include "diagnostics.hpp"
#include "expression.hpp"
#include "extend.hpp"
#include "number.hpp"
#include "read_modifiers.hpp"
#include "read_run.hpp"
#include "scalar_types.hpp"
#include "sparseml.hpp"
#include "sparsify/load_recipe.hpp"
#include "sparsify/suggest.hpp"
#include "stage.hpp"
#include "variables.hpp"

namespace sparsify {
namespace {

using yaml::Kind;

/// What a key of the recipe or of a stage holds.
enum class Section { kModifiers, kStage, kRun, kVersion, kDescription, kMetadata, kOrder, kVariable };

Section section_of(const std::string& key, const yaml::Ref& value, bool in_stage, bool is_sparseml) {
  if (is_group(key, value, is_sparseml)) return Section::kModifiers;
  if (in_stage && (key == "after" || key == "start_epoch" || key == "run_type")) return Section::kOrder;
  if (key == "metadata" || key == "__metadata__") return Section::kMetadata;
  if (in_stage) return Section::kVariable;
  if (key == "run") return Section::kRun;
  if (key == "version") return Section::kVersion;
  if (key == "description") return Section::kDescription;
  return is_stage(value, is_sparseml) ? Section::kStage : Section::kVariable;
}

bool holds_modifiers(const yaml::Node& list) {
  return list.kind == Kind::kSequence &&
         std::any_of(list.items.begin(), list.items.end(), [](const auto& item) {
           return item.node->kind == Kind::kMapping || !item.node->tag.empty();
         });
}

/// A scalar, or a list of scalars.
bool can_be_variable(const yaml::Node& node) {
  if (node.kind == Kind::kScalar) return true;
  return node.kind == Kind::kSequence &&
         std::all_of(node.items.begin(), node.items.end(), [](const auto& item) {
           return item.node->kind == Kind::kScalar && item.node->tag.empty();
         });
}

std::string no_variable(const std::string& key, const yaml::Ref& value) {
  if (const auto* rule = sparseml::rule_for("", key))
    return "'" + key + "' of SparseML's recipes is not supported: " + rule->note;
  if (holds_modifiers(*value.node)) {
    const auto word = key.find("modifiers");
    const auto better = word == std::string::npos ? key + "_modifiers" : key.substr(0, word) + "modifiers";
    return "'" + key + "' holds modifiers but its name does not end in 'modifiers'; expected e.g. '" +
           better + "'";
  }
  if (key.ends_with("stage"))
    return "stage '" + key + "': expected a mapping with 'modifiers:' in it, got " + describe(value);
  return "variable '" + key + "': expected a single value, or a list of them, got " + describe(value);
}

/// Whether a version is that of our dialect: 1, also written 1.0.
bool is_ours(const yaml::Ref& version) {
  return version.node->kind == Kind::kScalar && parse_number(version.node->text) == 1;
}

/// Whether the recipe is written in SparseML's dialect: see load_recipe.
bool is_sparseml(const yaml::Node& root) {
  bool foreign = false;
  const auto look = [&](const yaml::Node& scope) {
    for (const auto& [key, value] : scope.entries) {
      if (!is_group(key.node->text, value, true)) continue;
      foreign |= value.node->kind == Kind::kMapping;
      for (const auto& item : value.node->items) foreign |= !item.node->tag.empty();
    }
  };
  look(root);
  for (const auto& [key, value] : root.entries) {
    if (key.node->text == "version" && is_ours(value)) return false;
    if (is_stage(value, true)) look(*value.node);
  }
  return foreign;
}

/// One stage of a recipe: a scope of variables, and modifiers whose epochs count from its start.
struct Stage {
  std::string name;
  const yaml::Node* node;
  Variables variables;
  const yaml::Ref* after = nullptr;
  const yaml::Ref* start_epoch = nullptr;
  Recipe recipe{};
  std::optional<double> begins{};  // once it is known
  bool being_placed = false;
};

/// Reads the sections of one recipe; the order of keys in the file does not matter.
class RecipeReader {
 public:
  RecipeReader(const yaml::Ref& root, const Sources& sources, RecipeFile& file)
      : root_(*root.node), root_mark_(root.mark), diagnostics_(sources), file_(file) {
    file_.sparseml = is_sparseml(root_);
    file_.recipe.overlaps_allowed = file_.sparseml;
    if (file_.sparseml) file_.recipe.other_name = sparseml::resnet_name;
  }

  void read(const RecipeArguments& arguments, const std::string& file_name) {
    collect_variables(root_, variables_, false);
    for (const auto& [key, value] : root_.entries)
      if (section(key, value, false) == Section::kStage) open_stage(key, value);
    override_variables(arguments, file_name);

    bool any_modifiers = !stages_.empty();
    for (const auto& [key, value] : root_.entries) {
      read_section(key, value);
      any_modifiers |= section(key, value, false) == Section::kModifiers;
    }
    for (auto& stage : stages_) read_stage(stage);
    if (diagnostics_.count() == 0)
      for (auto& stage : stages_) place(stage);
    if (!any_modifiers && diagnostics_.count() == 0)
      diagnostics_.add(root_mark_, "the recipe has no modifiers; expected 'modifiers:' with a list below");
    if (diagnostics_.count() == 0) report_unused();  // what failed may have used them
    diagnostics_.raise();
    for (const auto& stage : stages_) file_.recipe.append(stage.recipe, *stage.begins);
    if (file_.sparseml) sparseml::sort(file_.recipe);
    file_.warnings = diagnostics_.warnings();
  }

 private:
  Section section(const yaml::Ref& key, const yaml::Ref& value, bool in_stage) const {
    return section_of(key.node->text, value, in_stage, file_.sparseml);
  }

  void collect_variables(const yaml::Node& scope, Variables& variables, bool in_stage) {
    for (const auto& [key, value] : scope.entries) {
      const auto& name = key.node->text;
      if (section(key, value, in_stage) != Section::kVariable) continue;
      if (can_be_variable(*value.node))
        variables.add(name, value, key.mark);
      else if (file_.sparseml && !holds_modifiers(*value.node) && !name.ends_with("stage") &&
               !sparseml::rule_for("", name))
        diagnostics_.warn(key.mark, "'" + name + "' has no meaning in a recipe");
      else
        diagnostics_.add(key.mark, no_variable(name, value));
    }
  }

  void open_stage(const yaml::Ref& key, const yaml::Ref& value) {
    auto& stage = stages_.emplace_back(Stage{key.node->text, value.node.get(), Variables(&variables_)});
    collect_variables(*value.node, stage.variables, true);
    for (const auto& [name, item] : value.node->entries) {
      if (name.node->text == "after") stage.after = &item;
      if (name.node->text == "start_epoch") stage.start_epoch = &item;
      if (name.node->text == "run_type" && item.node->text != "train")
        diagnostics_.add(item.mark, "run_type: expected train, got " + describe(item) + "; " +
                                        sparseml::rule_for("", "run_type")->note);
    }
    if (stage.after && stage.start_epoch)
      diagnostics_.add(stage.start_epoch->mark, "a stage has either 'after' or 'start_epoch'");
  }

  void override_variables(const RecipeArguments& arguments, const std::string& file_name) {
    for (const auto& [name, text] : arguments) {
      const auto value = argument(name, text);
      if (!can_be_variable(value))
        throw RecipeError(file_name + ": " + value.argument + ": expected a single value, or a list of them");
      bool known = variables_.has(name);
      if (known) variables_.override_with(name, value);
      for (auto& stage : stages_)
        if (stage.variables.has(name)) stage.variables.override_with(name, value), known = true;
      if (known) continue;
      const auto unknown = file_name + ": --recipe-arg " + name + "=" + text + ": " + no_such_variable(name);
      if (!file_.sparseml) throw RecipeError(unknown);
      unknown_unless_used_[name] = unknown;
    }
    // Published recipes leave some variables to whoever runs them.
    for (const auto& [name, unknown] : unknown_unless_used_) define(name, arguments.at(name));
  }

  std::string no_such_variable(const std::string& name) const {
    auto names = variables_.names();
    for (const auto& stage : stages_)
      for (const auto& inner : stage.variables.names())
        if (std::find(names.begin(), names.end(), inner) == names.end()) names.push_back(inner);
    std::string list;
    for (const auto& each : names) list += (list.empty() ? "" : ", ") + each;
    return "the recipe has no variable '" + name + "'; " +
           (names.empty() ? "it has none" : "it has " + list) + suggestion(name, names);
  }

  void define(const std::string& name, const std::string& text) {
    auto node = std::make_shared<yaml::Node>(argument(name, text));
    node->mark = root_mark_;
    variables_.add(name, {node, root_mark_}, root_mark_);
  }

  void read_section(const yaml::Ref& key, const yaml::Ref& value) {
    const auto& name = key.node->text;
    switch (section(key, value, false)) {
      case Section::kModifiers:
        read_modifiers(name, value, file_.sparseml, file_.recipe, variables_, diagnostics_);
        break;
      case Section::kRun:
        file_.run = read_run(value, variables_, diagnostics_);
        break;
      case Section::kVersion:
        file_.version = read_version(value);
        break;
      case Section::kDescription:
        file_.description = text(name, value);
        break;
      case Section::kMetadata:
        read_metadata(value, variables_, "");
        break;
      case Section::kStage:
      case Section::kOrder:
      case Section::kVariable:
        break;
    }
  }

  void read_stage(Stage& stage) {
    for (const auto& [key, value] : stage.node->entries) {
      const auto& name = key.node->text;
      const auto what = section(key, value, true);
      if (what == Section::kModifiers)
        read_modifiers(name, value, file_.sparseml, stage.recipe, stage.variables, diagnostics_);
      if (what == Section::kMetadata) read_metadata(value, stage.variables, stage.name + ".");
    }
  }

  /// Finds the epoch at which a stage begins: given, or where the stage it comes after ends.
  void place(Stage& stage) {
    if (stage.begins) return;
    stage.begins = 0;
    if (stage.start_epoch) stage.begins = start_of(stage);
    if (!stage.after) return;
    const auto name = text("after", *stage.after);
    const auto earlier =
        std::find_if(stages_.begin(), stages_.end(), [&](const Stage& other) { return other.name == name; });
    if (earlier == stages_.end()) {
      std::vector<std::string> names;
      for (const auto& other : stages_) names.push_back(other.name);
      diagnostics_.add(stage.after->mark,
                       "after: there is no stage '" + name + "'" + suggestion(name, names));
    } else if (stage.being_placed || earlier->being_placed || &*earlier == &stage) {
      diagnostics_.add(stage.after->mark, "after: stages come after each other in a circle");
    } else {
      stage.being_placed = true;
      place(*earlier);
      stage.being_placed = false;
      stage.begins = *earlier->begins + earlier->recipe.last_epoch();
    }
  }

  double start_of(Stage& stage) {
    try {
      const double epoch = read_number(*stage.start_epoch, stage.variables);
      if (epoch >= 0) return epoch;
      diagnostics_.add(stage.start_epoch->mark, "start_epoch: expected an epoch >= 0");
    } catch (const ValueError& error) {
      diagnostics_.add(error.mark(), std::string("start_epoch: ") + error.what());
    }
    return 0;
  }

  std::string text(const std::string& key, const yaml::Ref& value) {
    try {
      return read_text(value, variables_);
    } catch (const ValueError& error) {
      diagnostics_.add(error.mark(), key + ": " + error.what());
      return "";
    }
  }

  /// SparseML's recipes carry versions of their own, such as 1.1.0.
  std::string read_version(const yaml::Ref& value) {
    if (is_ours(value)) return "1";
    const auto version = text("version", value);
    const bool plain = value.node->kind == Kind::kScalar;
    if (plain && (!file_.sparseml || expression_in(value.node->text)))
      diagnostics_.add(value.mark, "version: expected 1, the only one there is, got " + describe(value));
    return version;
  }

  /// `prefix`: what the keys of a stage's are kept under.
  void read_metadata(const yaml::Ref& value, Variables& variables, const std::string& prefix) {
    if (value.node->kind != Kind::kMapping) {
      diagnostics_.add(value.mark, "metadata: expected a mapping ('author: name'), got " + describe(value));
      return;
    }
    for (const auto& [key, item] : value.node->entries) {
      const auto& name = key.node->text;
      try {
        file_.metadata[prefix + name] = read_value(item, variables);
      } catch (const ValueError& error) {
        diagnostics_.add(error.mark(), "metadata: " + name + ": " + error.what());
      }
    }
  }

  void report_unused() {
    report_unused(variables_);
    for (const auto& stage : stages_) report_unused(stage.variables);
  }
  void report_unused(const Variables& variables) {
    static const std::vector<std::string> keys = {"modifiers", "run",     "version", "description",
                                                  "metadata",  "extends", "after"};
    for (const auto& [name, mark] : variables.unused()) {
      if (const auto defined = unknown_unless_used_.find(name); defined != unknown_unless_used_.end())
        throw RecipeError(defined->second);
      const auto message = "variable '" + name + "' is not used";
      if (file_.sparseml)
        diagnostics_.warn(mark, message);
      else if (mark.file != root_mark_.file)
        diagnostics_.add(mark, message + " by what extends this recipe; expected '" + name +
                                   ":' there, without a value, which removes it");
      else
        diagnostics_.add(mark, message + "; expected a value that refers to it, as in 'eval(" + name +
                                   ")', or a key of recipes (modifiers, run, version, description, metadata, "
                                   "extends)" +
                                   suggestion(name, keys));
    }
  }

  const yaml::Node& root_;
  yaml::Mark root_mark_;
  Variables variables_;
  std::deque<Stage> stages_;
  std::map<std::string, std::string> unknown_unless_used_;  // arguments by name: what is wrong with them
  Diagnostics diagnostics_;
  RecipeFile& file_;
};

}  // namespace

RecipeFile parse_recipe(const std::string& text, const std::string& file_name,
                        const RecipeArguments& arguments) {
  register_builtin_modifiers();
  Sources sources;
  const auto extended = parse_extended(text, file_name, sources);
  RecipeFile file;
  file.path = file_name;
  file.text = extended.text;
  RecipeReader(extended.root, sources, file).read(arguments, file_name);
  return file;
}

}  // namespace sparsify
