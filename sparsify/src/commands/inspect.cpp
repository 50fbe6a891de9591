// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <iostream>

#include <nlohmann/json.hpp>

#include "command_line.hpp"
#include "commands/commands.hpp"
#include "json_output.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "sparsify/quantization/float_rules.hpp"
#include "workflow/input_error.hpp"
#include "workflow/layer_facts.hpp"
#include "workflow/quantization_facts.hpp"
#include "workflow/run_directory.hpp"
#include "workflow/saved_model.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// The common form of what is known of a model, whatever file it was read from.
struct Findings {
  std::string title;
  std::vector<LayerFacts> layers;
  std::vector<std::string> arithmetic;  ///< of each layer: "INT8", or why not
  std::vector<std::string> rules;       ///< of each layer: the name of that why; empty for integer ones
  std::int64_t parameters = 0;
  double prunable = 0;
  std::vector<fs::path> files;
};

// Where the weight uses fewer than the 8 bits it is stored in.
std::string note_of_bits(int bits) {
  return bits > 0 && bits < 8 ? ", " + std::to_string(bits) + "-bit weight" : "";
}

Findings inspect_onnx(const std::string& path) {
  const auto facts = onnx::inspect_model(path);
  Findings found;
  found.title = path + ": opset " + std::to_string(facts.opset) + ", " +
                std::to_string(facts.activation_quantizers) + " activation quantizers" +
                (facts.metadata.count("scheme") ? ", scheme " + facts.metadata.at("scheme") : "") +
                (facts.metadata.count("requantized") ? ", requantized" : "");
  for (const auto& weight : facts.weights) {
    found.layers.push_back({.name = weight.name,
                            .sizes = weight.shape,
                            .weights = weight.elements,
                            .zeros = weight.zeros,
                            .two_four = weight.two_four,
                            .quantized = !weight.quantizer.empty()});
    found.arithmetic.push_back(weight.quantizer.empty() ? "float"
                                                        : weight.quantizer + note_of_bits(weight.bits));
    found.rules.emplace_back();  // a file says what, not why
  }
  found.parameters = facts.elements;
  found.prunable = facts.sparsity();
  found.files = {path};
  return found;
}

Findings inspect_saved(const std::string& path) {
  const auto saved = open_saved_model(path);
  const auto* quantization = saved.session->find<Quantization>();
  const bool active = quantization && quantization->active();
  const auto facts = measure(saved.session->state().parameters, active ? &quantization->plan() : nullptr);
  Findings found;
  found.title = saved.card.model + " of " + saved.checkpoint.string() + ", recipe " + saved.card.recipe_name;
  found.layers = facts.layers;
  for (const auto& layer : facts.layers) {
    const auto left = quantization && !active ? left_float(layer.name, float_rules::kNotBegun) : layer.left;
    found.arithmetic.push_back(layer.quantized
                                   ? "INT8 (" + quantization->plan().scheme + ")" + note_of_bits(layer.bits)
                                   : "float: " + left.why());
    found.rules.push_back(layer.quantized ? "" : left.rule);
  }
  found.parameters = facts.parameters;
  found.prunable = facts.prunable_sparsity();
  if (!fs::is_directory(path)) return found.files = {saved.checkpoint}, found;
  for (const auto& file : fs::recursive_directory_iterator(path))
    if (file.is_regular_file()) found.files.push_back(file.path());
  std::sort(found.files.begin(), found.files.end());
  return found;
}

void print(const Findings& found) {
  std::vector<std::vector<std::string>> rows = {
      {"weight", "shape", "weights", "sparsity", "2:4", "arithmetic"}};
  for (std::size_t i = 0; i < found.layers.size(); ++i) {
    const auto& layer = found.layers[i];
    rows.push_back({layer.name, format_sizes(layer.sizes), std::to_string(layer.weights),
                    format_percent(layer.sparsity(), 1), layer.two_four ? "yes" : "no", found.arithmetic[i]});
  }
  std::cout << found.title << "\n\n"
            << format_table(rows) << "\n"
            << found.parameters << " parameters; Conv/Linear weights " << format_percent(found.prunable)
            << " sparse\n";
  for (const auto& file : found.files)
    std::cout << file.string() << "  " << format_bytes(static_cast<std::int64_t>(fs::file_size(file)))
              << "\n";
}

json as_json(const Findings& found) {
  json layers = json::array(), files = json::object();
  for (std::size_t i = 0; i < found.layers.size(); ++i) {
    const auto& layer = found.layers[i];
    layers.push_back({{"name", layer.name},
                      {"shape", layer.sizes},
                      {"weights", layer.weights},
                      {"zeros", layer.zeros},
                      {"sparsity", layer.sparsity()},
                      {"two_four", layer.two_four},
                      {"quantized", layer.quantized},
                      {"arithmetic", found.arithmetic[i]},
                      {"rule", found.rules[i].empty() ? json(nullptr) : json(found.rules[i])}});
  }
  for (const auto& file : found.files) files[file.string()] = fs::file_size(file);
  return {{"title", found.title},
          {"layers", layers},
          {"parameters", found.parameters},
          {"sparsity", found.prunable},
          {"files", files}};
}

int explain_quantization(const CommandLine& line) {
  const auto saved = as_input([&] {
    const auto path = line.operand("run directory or checkpoint");
    if (fs::path(path).extension() == ".onnx")
      throw InputError("--quantization: " + path +
                       " says what is quantized, not why; give the run or checkpoint it was made from");
    return open_saved_model(path);
  });
  const auto facts = quantization_facts(saved);
  std::cout << quantization_text(facts);
  write_json(line.text("json"), quantization_json(facts));
  return 0;
}

}  // namespace

int inspect_command(const std::vector<std::string>& arguments) {
  CommandLine line("inspect", "RUN|CHECKPOINT|MODEL.onnx [options]",
                   "Shows every Conv and Linear weight: shape, sparsity, whether the 2:4 pattern holds, and "
                   "whether it is quantized\n"
                   "or which rule leaves it in floating point. With --quantization: the quantizers of its "
                   "input and output, their\n"
                   "scales and ranges, what shares them, and the kernel that the engine takes.",
                   "  sparsify inspect runs/pruned_quant\n"
                   "  sparsify inspect runs/pruned_quant --quantization\n"
                   "  sparsify inspect model.onnx --json layers.json\n");
  line.flag("output", "quantization", "explain the arithmetic of every layer of a run or checkpoint");
  line.option("output", "json", "also write the results to this file", "FILE");
  if (!line.parse(arguments)) return 0;
  check_output_path(line.text("json"), "--json");
  if (line.given("quantization")) return explain_quantization(line);
  const auto found = as_input([&] {
    const auto path = line.operand("run directory, checkpoint or .onnx file");
    return fs::path(path).extension() == ".onnx" ? inspect_onnx(path) : inspect_saved(path);
  });
  print(found);
  write_json(line.text("json"), as_json(found));
  return 0;
}

}  // namespace sparsify
