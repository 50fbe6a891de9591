// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include <spdlog/spdlog.h>

#include "calibration_options.hpp"
#include "command_line.hpp"
#include "commands/commands.hpp"
#include "json_output.hpp"
#include "logging.hpp"
#include "machine.hpp"
#include "recipe_arguments.hpp"
#include "signals.hpp"
#include "sparsify/detection/ultralytics.hpp"
#include "sparsify/trainers/model.hpp"
#include "terminal.hpp"
#include "workflow/detectors.hpp"
#include "workflow/input_error.hpp"
#include "workflow/settings.hpp"
#include "workflow/summary.hpp"
#include "workflow/table.hpp"
#include "workflow/train_run.hpp"

namespace sparsify {
namespace {

const std::string kPurpose =
    "Trains a network as a recipe says (pruning, 2:4 sparsity, quantization-aware training, learning rates), "
    "writes it as\n"
    "ONNX, and compares that file with the trained network in ONNX Runtime on the whole validation set. What "
    "the recipe's\n"
    "run: mapping says is the default for the options below. Ctrl-C saves a checkpoint; --resume goes on "
    "from it.\n\n"
    "networks: ";

constexpr const char* kExamples =
    "  sparsify train --recipe pruned_quant.yaml                 a ready-made recipe on built-in data: "
    "nothing else needed\n"
    "  sparsify train --recipe pruned.yaml --recipe-arg sparsity=0.95 --output runs/sparse95\n"
    "  sparsify train --recipe my.yaml --model resnet50 --weights resnet50.pth --data images/ --epochs 30 "
    "--lr 0.01\n"
    "  sparsify train --recipe pruned_quant.yaml --baseline runs/dense       compare with a dense run\n"
    "  sparsify train --resume --output runs/pruned_quant        go on after Ctrl-C or a crash\n"
    "  sparsify train --recipe pruned_quant.yaml --weights runs/dense --one-shot   prune and quantize, train "
    "nothing\n";

std::string group_of(const std::string& name) {
  static const std::map<std::string, std::set<std::string>> groups = {
      {"network and data",
       {"model", "weights", "data", "hyp", "image_size", "multi_scale", "autoanchor", "augment",
        "distill_teacher"}},
      {"machine", {"device", "precision", "workers", "seed"}},
      {"results", {"output", "baseline", "target"}},
  };
  for (const auto& [group, names] : groups)
    if (names.count(name)) return group;
  return "optimization";
}

std::string network_names() {
  std::string text, line;
  for (const auto& name : model_names()) {
    if (line.size() + name.size() > 95) text += line + ",\n  ", line.clear();
    line += (line.empty() ? "" : ", ") + name;
  }
  text += line + "\ndetectors: ";
  for (const auto& name : detection::builtin_ultralytics_models()) text += name + ", ";
  return text + "or a file: Ultralytics' .yaml, darknet's .cfg";
}

std::string setting_text(bool value) { return value ? "true" : "false"; }
std::string setting_text(std::int64_t value) { return std::to_string(value); }
std::string setting_text(double value) { return format_number(value); }
std::string setting_text(const std::string& value) { return value; }

const char* placeholder_of(bool) { return "true|false"; }
const char* placeholder_of(std::int64_t) { return "N"; }
const char* placeholder_of(double) { return "X"; }
const char* placeholder_of(const std::string&) { return "TEXT"; }

/// Settings as texts, by name.
struct SettingTexts {
  std::map<std::string, std::string> texts{};
  template <class Value>
  void operator()(const char* name, const Value& value, const char*, const Limits& = {}) {
    texts[name] = setting_text(value);
  }
};

std::map<std::string, std::string> detector_defaults() {
  Settings settings;
  settings.epochs = static_cast<std::int64_t>(kMostEpochs);  // so many that the warm-up is not cut
  use_detector_defaults(settings);
  SettingTexts of_detectors;
  settings.fields(of_detectors);
  of_detectors.texts["epochs"] = setting_text(Settings().epochs);
  return of_detectors.texts;
}

/// Declares one option for each setting, with its default, and a detector's where that is another.
struct DeclareOptions {
  CommandLine& line;
  std::map<std::string, std::string> of_detectors = detector_defaults();

  template <class Value>
  void operator()(const char* name, const Value& value, const char* meaning, const Limits& = {}) {
    const auto flag = flag_of(name);
    const bool aliased = flag == "image-size";
    line.option(group_of(name), aliased ? "image-size,imgsz" : flag,
                meaning + std::string(aliased ? "; also --imgsz" : "") +
                    default_of(name, setting_text(value), meaning),
                placeholder_of(value));
  }
  std::string default_of(const std::string& name, const std::string& value,
                         const std::string& meaning) const {
    if (value.empty() || meaning.find("default") != std::string::npos) return "";
    const auto& other = of_detectors.at(name);
    return " (default: " + value + (other == value ? ")" : ", of detectors " + other + ")");
  }
};

/// Collects the settings given on the command line.
struct CollectFlags {
  const CommandLine& line;
  std::map<std::string, RunDefault> flags{};
  template <class Value>
  void operator()(const char* name, Value&, const char*, const Limits& = {}) {
    const auto flag = flag_of(name);
    if (line.given(flag)) flags[name] = {line.text(flag), "--" + flag};
  }
};

TrainRequest read_request(const CommandLine& line) {
  TrainRequest request;
  request.recipe = line.text("recipe");
  request.arguments = read_recipe_arguments(line.texts("recipe-arg"));
  request.resume = line.given("resume");
  request.export_model = !line.given("no-export");
  const auto calibration = read_calibration(line, "one-shot");
  if (line.given("one-shot")) request.one_shot = calibration;
  CollectFlags collect{line};
  Settings defaults;
  defaults.fields(collect);
  request.flags = std::move(collect.flags);
  if (line.given("no-augment")) request.flags["augment"] = {"none", "--no-augment"};
  if (line.given("noautoanchor")) request.flags["autoanchor"] = {"false", "--noautoanchor"};
  if (line.operands().empty()) return request;
  const auto& operand = line.operands().front();
  if (!request.resume || line.operands().size() > 1)
    throw InputError("unexpected argument '" + operand + "'; a recipe is given with --recipe");
  if (!request.flags.emplace("output", RunDefault{operand, "--resume"}).second)
    throw InputError("--resume " + operand + " and --output " + line.text("output") +
                     ": one run directory is expected");
  return request;
}

TrainRunEvents show_on(Terminal& terminal, Progress& progress) {
  TrainRunEvents events;
  events.progress = [&](const TrainProgress& state) { progress.step(state); };
  events.comparing = [&](const std::string& what, std::int64_t done, std::int64_t of) {
    progress.images(what, done, of);
  };
  events.epoch = [&](const EpochMetrics& row, const std::string& metric, std::int64_t epochs) {
    terminal.status("");
    spdlog::info("{}", describe(row, metric, epochs));
  };
  events.note = [](const std::string& text) { spdlog::info("{}", text); };
  events.warning = [](const std::string& text) { spdlog::warn("{}", text); };
  events.stop_requested = stop_requested;
  return events;
}

void print_result(const nlohmann::json& summary, const nlohmann::json& baseline,
                  const RunDirectory& directory) {
  std::cout << "\n" << to_table(summary, baseline) << "\n";
  for (const auto& warning : summary.at("warnings"))
    std::cout << "warning: " << warning.get<std::string>() << "\n";
  std::cout << "results in " << directory.path().string() << ":\n";
  for (const auto& [name, file] : summary.at("files").items())
    std::cout << "  " << file.at("path").get<std::string>() << "  ("
              << format_bytes(file.at("bytes").get<std::int64_t>()) << ")\n";
  std::cout << "  " << directory.summary().string() << std::endl;
}

}  // namespace

int train_command(const std::vector<std::string>& arguments) {
  CommandLine line("train", "--recipe R [options]", kPurpose + network_names(), kExamples);
  line.option("recipe", "recipe",
              "a recipe file, or the name of a ready-made one (see 'sparsify recipe list')", "R");
  line.repeated("recipe", "recipe-arg", "set a variable of the recipe; may be repeated", "name=value");
  Settings defaults;
  DeclareOptions declare{line};
  defaults.fields(declare);
  line.flag("network and data", "no-augment", "the same as --augment none");
  line.flag("network and data", "noautoanchor", "the same as --autoanchor false");
  line.flag("without training", "one-shot",
            "apply the recipe once to trained --weights: final sparsity by magnitude, quantizers calibrated");
  declare_calibration(line, "without training", "one-shot");
  line.flag("results", "resume",
            "go on with the run in --output (or: --resume RUN), with the settings it was begun with");
  line.flag("results", "no-export", "train only: no ONNX file, no comparison");
  line.option("results", "json", "also write the summary to this file", "FILE");
  if (!line.parse(arguments)) return 0;

  Terminal terminal;
  log_to(terminal);
  Progress progress(terminal);
  check_output_path(line.text("json"), "--json");
  auto events = show_on(terminal, progress);
  events.began = [](const RunDirectory& directory, const std::string& description) {
    log_to(directory.log());
    spdlog::info("{}", description);
    spdlog::info("writing to {}", directory.path().string());
    if (uses_reference_blas())
      spdlog::warn(
          "LibTorch computes with the reference BLAS, many times slower than need be: install "
          "libopenblas0-openmp");
  };
  TrainRun run(read_request(line), events);
  catch_stop_signals();
  const auto summary = run.run();
  write_json(line.text("json"), summary);
  terminal.status("");
  print_result(summary, run.baseline(), run.directory());
  if (!summary.at("agrees").get<bool>())
    throw Error("the exported model is not what was trained: see the warnings (all files are kept)");
  return 0;
}

}  // namespace sparsify
