// SPDX-License-Identifier: Apache-2.0
#include "workflow/settings.hpp"

#include <charconv>

#include <nlohmann/json.hpp>

#include "workflow/input_error.hpp"

namespace sparsify {
namespace {

template <class Number>
bool parse(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc{} && end == text.data() + text.size();
}

class TextReader : public FieldVisitor {
 public:
  explicit TextReader(const std::map<std::string, RunDefault>& values) : values_(values) {}

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
    read(name, "a number", [&](const std::string& text) { return parse(text, value); });
  }
  void operator()(const char* name, std::string& value, const char*) override {
    read(name, "text", [&](const std::string& text) { return value = text, !text.empty(); });
  }
  void operator()(const char*, std::vector<std::string>&, const char*) override {}

 private:
  template <class Assign>
  void read(const char* name, const char* expected, Assign&& assign) {
    const auto found = values_.find(name);
    if (found == values_.end()) return;
    const auto& [text, where] = found->second;
    if (!assign(text))
      throw InputError(where + ": " + (text.empty() ? "is empty" : "got '" + text + "'") + ", expected " +
                       expected);
  }

  const std::map<std::string, RunDefault>& values_;
};

struct JsonWriter {
  nlohmann::json entries = nlohmann::json::object();
  template <class Value>
  void operator()(const char* name, const Value& value, const char*) {
    entries[name] = value;
  }
};

struct JsonReader {
  const nlohmann::json& entries;
  const std::string& where;
  template <class Value>
  void operator()(const char* name, Value& value, const char*) {
    const auto entry = entries.find(name);
    if (entry == entries.end()) return;  // written before there was this setting
    try {
      entry->get_to(value);
    } catch (const nlohmann::json::exception&) {
      throw InputError(where + ": '" + name + "' is of another type; was the file changed?");
    }
  }
};

}  // namespace

void read_texts(Settings& settings, const std::map<std::string, RunDefault>& values) {
  TextReader reader(values);
  settings.fields(reader);
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
  const auto expect = [](bool holds, const std::string& message) {
    if (!holds) throw InputError(message);
  };
  const auto at_least = [&](const char* flag, auto value, int lowest) {
    expect(value >= lowest, std::string(flag) + ": expected at least " + std::to_string(lowest) + ", got " +
                                std::to_string(value));
  };
  at_least("--epochs", settings.epochs, 0);
  at_least("--batch-size", settings.batch_size, 1);
  at_least("--image-size", settings.image_size, 0);
  at_least("--workers", settings.workers, 0);
  at_least("--seed", settings.seed, 0);
  expect(settings.workers <= 256, "--workers: expected at most 256, got " + std::to_string(settings.workers));
  expect(settings.ema_decay >= 0 && settings.ema_decay < 1,
         "--ema-decay: expected a number from 0 to below 1");
  expect(settings.augment == "auto" || settings.augment == "none",
         "--augment: expected auto or none, got '" + settings.augment + "'");
  expect(settings.target.empty() || settings.target == "cpu" || settings.target == "gpu",
         "--target: expected cpu or gpu, got '" + settings.target + "'");
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
  options.batch_size = settings.batch_size;
  options.optimizer = {settings.optimizer, settings.lr, settings.momentum, settings.weight_decay,
                       settings.nesterov && settings.momentum > 0};
  options.lr_schedule = settings.lr_schedule;
  options.warmup_epochs = settings.warmup_epochs;
  options.label_smoothing = settings.label_smoothing;
  options.ema_decay = settings.ema_decay;
  options.augment = settings.augment != "none";
  options.precision = settings.precision;
  options.device = settings.device;
  options.workers = settings.workers;
  options.seed = static_cast<std::uint64_t>(settings.seed);
  return options;
}

}  // namespace sparsify
