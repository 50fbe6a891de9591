// SPDX-License-Identifier: Apache-2.0
#include "workflow/settings.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include <nlohmann/json.hpp>

#include "workflow/input_error.hpp"
#include "workflow/problems.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

template <class Number>
bool parse(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc{} && end == text.data() + text.size();
}

class TextReader : public FieldVisitor {
 public:
  TextReader(Settings& settings, const std::map<std::string, RunDefault>& values)
      : settings_(settings), values_(values) {}
  void raise() const { problems_.raise(); }

  void operator()(const char* name, bool& value, const char*) override {
    read(name, "true or false", [&](const std::string& text) {
      if (text != "true" && text != "false") return false;
      value = text == "true";
      return true;
    });
  }
  void operator()(const char* name, std::int64_t& value, const char*) override {
    read(name, "a whole number", [&](const std::string& text) { return parse(text, value); });
  }
  void operator()(const char* name, double& value, const char*) override {
    read(name, "a number",
         [&](const std::string& text) { return parse(text, value) && std::isfinite(value); });
  }
  void operator()(const char* name, std::string& value, const char*) override {
    read(name, "text", [&](const std::string& text) {
      if (!text.empty()) value = text;
      return !text.empty();
    });
  }
  void operator()(const char*, std::vector<std::string>&, const char*) override {}

 private:
  template <class Assign>
  void read(const char* name, const char* expected, Assign&& assign) {
    const auto found = values_.find(name);
    if (found == values_.end()) return;
    const auto& [text, where] = found->second;
    settings_.places[name] = where;
    if (!assign(text))
      problems_.add(place_of(settings_, name) + ": " + (text.empty() ? "is empty" : "got '" + text + "'") +
                    ", expected " + expected);
  }

  Settings& settings_;
  Problems problems_;
  const std::map<std::string, RunDefault>& values_;
};

struct JsonWriter {
  nlohmann::json entries = nlohmann::json::object();
  template <class Value>
  void operator()(const char* name, const Value& value, const char*, const Limits& = {}) {
    entries[name] = value;
  }
};

struct JsonReader {
  const nlohmann::json& entries;
  const std::string& where;
  template <class Value>
  void operator()(const char* name, Value& value, const char*, const Limits& = {}) {
    const auto entry = entries.find(name);
    if (entry == entries.end()) return;  // written before there was this setting
    try {
      entry->get_to(value);
    } catch (const nlohmann::json::exception&) {
      throw InputError(where + ": '" + name + "' is of another type; was the file changed?");
    }
  }
};

/// "auto", "cpu", "cuda" or "cuda:1".
bool names_device(const std::string& text) {
  if (text == "auto" || text == "cpu" || text == "cuda") return true;
  return text.starts_with("cuda:") && text.size() > 5 &&
         text.find_first_not_of("0123456789", 5) == std::string::npos;
}

/// Collects the settings that are outside their limits.
class RangeCheck : public FieldVisitor {
 public:
  explicit RangeCheck(const Settings& settings) : settings_(settings) {}
  void raise() const { problems_.raise(); }

  void operator()(const char* name, std::int64_t& value, const char*) override {
    expect(limits().take(static_cast<double>(value)), name, limits().text(), std::to_string(value));
  }
  void operator()(const char* name, double& value, const char*) override {
    expect(limits().take(value), name, limits().text(), format_number(value));
  }
  void operator()(const char* name, std::string& value, const char*) override {
    const bool is_given = !value.empty();
    expect(!is_given || limits().take(value), name, limits().text(), "'" + value + "'");
  }

  void expect(bool holds, const char* name, const std::string& expected, const std::string& got) {
    if (!holds) problems_.add(place_of(settings_, name) + ": expected " + expected + ", got " + got);
  }

 private:
  const Settings& settings_;
  Problems problems_;
};

}  // namespace

void read_texts(Settings& settings, const std::map<std::string, RunDefault>& values) {
  TextReader reader(settings, values);
  FieldVisitor& visit = reader;
  settings.fields(visit);
  reader.raise();
}

std::string flag_of(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

std::string place_of(const Settings& settings, const std::string& name) {
  const auto place = settings.places.find(name);
  if (place != settings.places.end() && place->second.starts_with("--")) return place->second;
  if (place != settings.places.end()) return place->second + ": run: " + name;
  return "--" + flag_of(name);
}

nlohmann::json to_json(Settings settings) {
  JsonWriter writer;
  settings.fields(writer);
  return writer.entries;
}

Settings settings_from_json(const nlohmann::json& entries, const std::string& where) {
  Settings settings;
  JsonReader reader{entries, where};
  settings.fields(reader);
  return settings;
}

void check_ranges(const Settings& settings) {
  auto copy = settings;  // visitors may write
  RangeCheck check(settings);
  FieldVisitor& visit = check;
  copy.fields(visit);
  // What limits of a single field cannot say.
  if (settings.epochs > 0)
    check.expect(settings.warmup_epochs <= static_cast<double>(settings.epochs), "warmup_epochs",
                 "at most the number of epochs", format_number(settings.warmup_epochs));
  check.expect(names_device(settings.device), "device", "auto, cpu, cuda or cuda:<i>",
               "'" + settings.device + "'");
  check.raise();
}

void check(const Settings& settings) {
  check_ranges(settings);
  if (settings.model.empty())
    throw InputError("no model is given: use --model NAME, or 'model: NAME' in the recipe's run: mapping");
  if (settings.data.empty())
    throw InputError("no data is given: use --data D, or 'data: D' in the recipe's run: mapping");
}

TrainOptions train_options(const Settings& settings) {
  TrainOptions options;
  options.epochs = settings.epochs;
  options.optimizer = {settings.optimizer, settings.lr, settings.momentum, settings.weight_decay,
                       settings.nesterov && settings.momentum > 0};
  options.lr_schedule = settings.lr_schedule;
  options.last_lr = settings.lrf;
  options.warmup_epochs = settings.warmup_epochs;
  options.warmup_bias_lr = settings.warmup_bias_lr;
  options.warmup_momentum = settings.warmup_momentum;
  options.ema_decay = settings.ema_decay;
  options.precision = settings.precision;
  options.device = settings.device;
  return options;
}

}  // namespace sparsify
