// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <sstream>

#include <torch/torch.h>

#include "command_line.hpp"
#include "commands/commands.hpp"
#include "number_text.hpp"
#include "signals.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "terminal.hpp"
#include "weights_options.hpp"
#include "workflow/image_data.hpp"
#include "workflow/input_error.hpp"
#include "workflow/measure_latency.hpp"
#include "workflow/propose.hpp"
#include "workflow/propose_latency.hpp"
#include "workflow/saved_model.hpp"
#include "workflow/sensitivity.hpp"
#include "workflow/sensitivity_report.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;

struct Analyzed {
  std::string model_name;
  std::shared_ptr<Model> model;
  trainers::Datasets data;
};

Analyzed open_analyzed(const CommandLine& line) {
  if (!line.operands().empty()) {
    const auto path = line.operand("run or checkpoint");
    refuse_weights_beside(line, path);
    refuse_image_size(line, path);
    const auto saved = open_saved_model(path);
    return {saved.card.model, classifier_of(saved),
            open_images_for(saved.card, line.text("data", saved.card.data))};
  }
  if (!line.given("model") || !line.given("weights") || !line.given("data"))
    throw InputError("what is to be analysed? Give a run or a checkpoint, or --model, --weights and --data");
  auto [model, data] = open_weights(line);
  return {line.text("model"), model, data};
}

double number(const std::string& text, const std::string& flag, double above, double up_to,
              const std::string& expected) {
  return parse_number(text, flag, expected, [&](double value) { return value > above && value <= up_to; });
}

double fraction(const std::string& text, const std::string& flag) {
  return number(text, flag, 0, 1, "a fraction above 0 and up to 1");
}

SensitivityOptions options_of(const CommandLine& line) {
  SensitivityOptions options;
  if (line.given("levels")) {
    options.levels.clear();
    std::istringstream list(line.text("levels"));
    for (std::string item; std::getline(list, item, ',');)
      options.levels.push_back(fraction(item, "--levels"));
    if (options.levels.empty()) throw InputError("--levels: expected fractions, such as 0.5,0.8,0.9");
  }
  options.images = line.integer("images", options.images, 1, 1 << 24);
  options.batch_size = line.integer("batch-size", options.batch_size, 1, 1 << 20);
  options.workers = line.integer("workers", options.workers, 0, 256);
  options.seed = static_cast<std::uint64_t>(line.integer("seed", 0, 0, std::int64_t{1} << 31));
  options.scheme = line.text("scheme", options.scheme);
  if (options.scheme == "none") options.scheme.clear();
  if (!options.scheme.empty() && options.scheme != "cpu" && options.scheme != "gpu")
    throw InputError("--scheme: expected cpu, gpu or none, got '" + options.scheme + "'");
  return options;
}

using Target = std::function<Proposal(const Sensitivity&)>;

// Refuses at once what no choice of levels can reach. For a latency there is none.
Target target_of(const CommandLine& line, double highest_level) {
  if (line.given("target-latency")) return {};
  if (!line.given("target-speedup")) {
    const double target = fraction(line.text("target-sparsity", "0.85"), "--target-sparsity");
    if (highest_level < target)
      throw InputError("--target-sparsity: " + line.text("target-sparsity", "0.85") +
                       " is above every level of --levels");
    return [target](const Sensitivity& sensitivity) { return propose_sparsity(sensitivity, target); };
  }
  const double target = number(line.text("target-speedup"), "--target-speedup", 1, 1e6, "a factor above 1");
  if (target * (1 - highest_level) > 1)
    throw InputError("--target-speedup: with every layer at the highest of --levels it is " +
                     format_fixed(1 / (1 - highest_level), 1));
  return [target](const Sensitivity& sensitivity) { return propose_speedup(sensitivity, target); };
}

void refuse_two_targets(const CommandLine& line) {
  int given = 0;
  for (const auto* target : {"target-sparsity", "target-speedup", "target-latency"})
    given += line.given(target);
  if (given > 1)
    throw InputError("give one of --target-sparsity, --target-speedup and --target-latency, not more");
}

// Milliseconds, or 0 where another target is meant.
double latency_target_of(const CommandLine& line, const SensitivityOptions& options) {
  if (!line.given("target-latency")) return 0;
  if (options.scheme != "cpu")
    throw InputError("--target-latency: is measured with --scheme cpu, got '" + line.text("scheme") + "'");
  return number(line.text("target-latency"), "--target-latency", 0, 1e9, "milliseconds above 0");
}

// The folder must not exist: an analysis is never overwritten.
fs::path new_folder(const CommandLine& line) {
  const fs::path output = line.text("output", "analysis");
  std::error_code ignored;
  if (fs::exists(output, ignored))
    throw InputError(output.string() + " exists; name another folder with --output, or remove it");
  return output;
}

// A recipe, and what is to be said about it.
struct Outcome {
  std::string recipe;  ///< empty: none is needed
  std::string summary;
};

Outcome propose_pruning(const Target& propose, const Sensitivity& sensitivity, const Analyzed& subject) {
  const auto proposal = propose(sensitivity);
  return {recipe_text(proposal, sensitivity, subject.model_name),
          format_percent(proposal.reached) + " of all weights can go, with " +
              format_fixed(proposal.speedup, 2) +
              " times fewer multiply-adds left, for a loss increase of about " +
              std::to_string(proposal.predicted_loss_increase) +
              " before any fine-tuning, if the layers' add up"};
}

Outcome propose_quantization(double target_ms, const Sensitivity& sensitivity, const Analyzed& subject,
                             Terminal& terminal) {
  const auto image = ImageData(subject.data).first_image();
  const auto network =
      measure_latency(*subject.model, image, sensitivity, [&](std::int64_t done, std::int64_t all) {
        terminal.status(done == all ? ""
                                    : "timing " + std::to_string(done + 1) + " of " + std::to_string(all));
        return !stop_requested();
      });
  stop_if_requested("nothing was written");
  const auto proposal = propose_measured_latency(*subject.model, image, network, target_ms);
  const auto where = where_latency_is_measured();
  const auto times = "one image takes " + format_fixed(network.float_ms, 3) + " ms in floating point, " +
                     format_fixed(network.int8_ms, 3) + " ms with " + std::to_string(network.layers.size()) +
                     " layers in INT8 (" + where + ")";
  if (proposal.quantized.empty()) return {"", times + ": nothing has to be quantized, no recipe is written"};
  std::vector<std::string> never_quantized;
  for (const auto& layer : sensitivity.layers)
    if (!layer.not_quantized.empty()) never_quantized.push_back(layer.name);
  return {recipe_text(proposal, network, never_quantized, subject.model_name, where),
          times + "; with the proposed " + std::to_string(proposal.quantized.size()) + " in INT8 " +
              format_fixed(proposal.measured_ms, 3) + " ms, for a loss increase of about " +
              std::to_string(proposal.predicted_loss_increase) +
              " before any training, if the layers' add up"};
}

}  // namespace

int analyze_command(const std::vector<std::string>& arguments) {
  CommandLine line(
      "analyze", "RUN|CHECKPOINT [options]  or  --model M --weights W --data D [options]",
      "Measures how much each layer of a trained network suffers when it alone is pruned or rounded to "
      "INT8, without\ntraining, on training images; writes the measurements, a plot, and a recipe that "
      "prunes every layer as far as it\nbears, or with --target-latency one that quantizes the layers that "
      "bear "
      "it best. Latency is measured, not estimated:\nthat of single images in ONNX Runtime on this machine's "
      "CPU, "
      "with as many threads as OMP_NUM_THREADS says (default:\nall cores). Sparsity brings no time there, so "
      "nothing is pruned for it.",
      "  sparsify analyze runs/dense --target-sparsity 0.85\n"
      "  sparsify analyze runs/dense --target-latency 12 --levels 0.8\n"
      "  sparsify analyze --model resnet50 --weights resnet50.pth --data images/ --output "
      "resnet50-analysis\n");
  declare_weights_options(line);
  line.option("how", "levels", "sparsities to try (default: 0.3,0.5,0.6,0.7,0.8,0.85,0.9,0.95,0.98)", "LIST");
  line.option("how", "scheme", "INT8 for cpu or gpu engines, or none (default: cpu)", "S");
  line.option("how", "images", "training images to measure on (default: 1024)", "N");
  line.option("how", "batch-size", "images per step (default: 128)", "N");
  line.option("how", "workers", "threads that prepare images (default: 2)", "N");
  line.option("how", "seed", "of the choice of images (default: 0)", "N");
  line.option("output", "target-sparsity",
              "fraction of all weights the proposed recipe removes (default: 0.85)", "S");
  line.option("output", "target-speedup",
              "instead: so many times fewer multiply-adds, the bound for an engine that skips zeros", "X");
  line.option("output", "target-latency",
              "instead: milliseconds for one image, reached with INT8 in the layers that lose least by it",
              "MS");
  line.option("output", "output",
              "folder for sensitivity.csv, sensitivity.html and recipe.yaml (default: analysis)", "DIR");
  if (!line.parse(arguments)) return 0;
  const auto options = options_of(line);
  refuse_two_targets(line);
  const double target_ms = latency_target_of(line, options);
  const auto propose = target_of(line, *std::max_element(options.levels.begin(), options.levels.end()));
  const auto output = new_folder(line);
  const auto subject = as_input([&] { return open_analyzed(line); });

  catch_stop_signals();
  Terminal terminal;
  const auto sensitivity =
      measure_sensitivity(*subject.model, subject.data, options, [&](std::int64_t done, std::int64_t all) {
        terminal.status(done == all ? ""
                                    : "measuring " + std::to_string(done + 1) + " of " + std::to_string(all));
        return !stop_requested();
      });
  stop_if_requested("nothing was written");

  std::cout << subject.model_name << " on " << sensitivity.dense.images << " training images: loss "
            << std::to_string(sensitivity.dense.loss) << ", top-1 " << format_percent(sensitivity.dense.top1)
            << "; increases of the loss:\n\n"
            << sensitivity_table(sensitivity, 0.8);
  for (const auto& layer : sensitivity.layers)
    if (!layer.not_quantized.empty() && !options.scheme.empty())
      std::cout << "note: " << layer.name << " was not measured in INT8: " << layer.not_quantized << "\n";
  const auto outcome = target_ms > 0 ? propose_quantization(target_ms, sensitivity, subject, terminal)
                                     : propose_pruning(propose, sensitivity, subject);
  fs::create_directories(output);
  write_file_atomically(output / "sensitivity.csv", sensitivity_csv(sensitivity));
  write_file_atomically(output / "sensitivity.html",
                        sensitivity_html(sensitivity, "Sensitivity of " + subject.model_name));
  std::cout << "\n"
            << outcome.summary << "\n\n"
            << (output / "sensitivity.csv").string() << "\n"
            << (output / "sensitivity.html").string() << "\n";
  if (outcome.recipe.empty()) return 0;
  write_file_atomically(output / "recipe.yaml", outcome.recipe);
  std::cout << (output / "recipe.yaml").string() << "\n";
  return 0;
}

}  // namespace sparsify
