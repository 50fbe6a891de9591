// SPDX-License-Identifier: Apache-2.0
#include "read_run.hpp"

#include <algorithm>

#include "number.hpp"
#include "scalar_types.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify {
namespace {

std::string read_value(RunKeyKind kind, const yaml::Ref& value, Variables& variables) {
  switch (kind) {
    case RunKeyKind::kInteger:
      return std::to_string(read_integer(value, variables));
    case RunKeyKind::kNumber:
      return format_number(read_number(value, variables));
    case RunKeyKind::kBoolean:
      return read_boolean(value, variables) ? "true" : "false";
    case RunKeyKind::kText:
      break;
  }
  return read_text(value, variables);
}

const RunKey* find_key(const std::string& name) {
  const auto& keys = run_keys();
  const auto found =
      std::find_if(keys.begin(), keys.end(), [&](const RunKey& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

std::string unknown_key(const std::string& name) {
  std::vector<std::string> known;
  std::string list;
  for (const auto& key : run_keys()) {
    known.push_back(key.name);
    list += (list.empty() ? "" : ", ") + key.name;
  }
  return "run: unknown key '" + name + "'; expected one of " + list + suggestion(name, known);
}

}  // namespace

const std::vector<RunKey>& run_keys() {
  using enum RunKeyKind;
  static const std::vector<RunKey> keys{
      {"model", kText},
      {"weights", kText},
      {"data", kText},
      {"epochs", kInteger},
      {"hyp", kText},
      {"batch_size", kInteger},
      {"nbs", kInteger},
      {"image_size", kInteger},
      {"multi_scale", kNumber},
      {"autoanchor", kBoolean},
      {"optimizer", kText},
      {"lr", kNumber},
      {"lrf", kNumber},
      {"lr_schedule", kText},
      {"warmup_epochs", kNumber},
      {"warmup_bias_lr", kNumber},
      {"warmup_momentum", kNumber},
      {"momentum", kNumber},
      {"weight_decay", kNumber},
      {"nesterov", kBoolean},
      {"label_smoothing", kNumber},
      {"ema_decay", kNumber},
      {"augment", kText},
      {"seed", kInteger},
      {"workers", kInteger},
      {"device", kText},
      {"precision", kText},
      {"target", kText},
      {"baseline", kText},
      {"distill_teacher", kText},
      {"output", kText},
  };
  return keys;
}

std::map<std::string, RunDefault> read_run(const yaml::Ref& run, Variables& variables,
                                           Diagnostics& diagnostics) {
  std::map<std::string, RunDefault> defaults;
  if (run.node->kind != yaml::Kind::kMapping || !run.node->tag.empty()) {
    diagnostics.add(run.mark, "run: expected a mapping ('epochs: 12'), got " + describe(run));
    return defaults;
  }
  for (const auto& [key, value] : run.node->entries) {
    const auto& name = key.node->text;
    const auto* known = find_key(name);
    if (!known) {
      diagnostics.add(key.mark, unknown_key(name));
      continue;
    }
    try {
      defaults[name] = {read_value(known->kind, value, variables), diagnostics.sources().where(value.mark)};
    } catch (const ValueError& error) {
      diagnostics.add(error.mark(), "run: " + name + ": " + error.what());
    }
  }
  return defaults;
}

}  // namespace sparsify
