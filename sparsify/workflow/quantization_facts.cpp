// SPDX-License-Identifier: Apache-2.0
#include "workflow/quantization_facts.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/temporary_folder.hpp"
#include "sparsify/quantization/float_rules.hpp"
#include "workflow/export_run.hpp"
#include "workflow/input_error.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

using nlohmann::json;

// Names of nodes are sites without the word "weight".
std::map<std::string, std::string> kernels_in_onnxruntime(const SavedModel& saved) {
  const onnx::TemporaryFolder folder;
  const auto file = folder / "model.onnx";
  export_checked(saved, example_input(saved.card), {}, file);
  return onnx::integer_layers(file).kernels;
}

std::string in_tensorrt(const LayerArithmetic& layer) {
  if (!layer.integer) return "float";
  return layer.output >= 0 ? "INT8 to INT8" : "INT8, output float or fused with the sum that reads it";
}

void add_layers(QuantizationFacts& facts, const QuantizationPlan& plan) {
  for (const auto& weight : plan.weights) {
    LayerArithmetic layer;
    layer.site = weight.site;
    layer.integer = true;
    layer.bits = weight.bits;
    layer.input = weight.input, layer.output = weight.output;
    facts.layers.push_back(std::move(layer));
  }
  for (const auto& left : plan.unquantized) {
    LayerArithmetic layer;
    layer.site = left.site;
    layer.left = left;
    facts.layers.push_back(std::move(layer));
  }
}

void add_quantizers(QuantizationFacts& facts, const TrainedQuantization& trained) {
  for (std::size_t i = 0; i < trained.activations.size(); ++i) {
    const auto& planned = trained.plan.activations[i];
    ActivationFacts quantizer;
    quantizer.site = planned.site;
    quantizer.scale = trained.activations[i].scale.item<double>();
    quantizer.zero_point = trained.activations[i].zero_point.item<int>();
    const auto real = [&](std::int64_t integer) {
      return quantizer.scale * static_cast<double>(integer - quantizer.zero_point);
    };
    quantizer.lowest = real(planned.range.lowest), quantizer.highest = real(planned.range.highest);
    quantizer.shared = planned.shared_sites, quantizer.carried = planned.carried_sites;
    facts.quantizers.push_back(std::move(quantizer));
  }
}

std::string number_of(int quantizer) { return quantizer < 0 ? "" : "#" + std::to_string(quantizer); }

std::string arithmetic(const LayerArithmetic& layer) {
  if (!layer.integer) return "float";
  return layer.bits == 8 ? "INT8" : "INT8, " + std::to_string(layer.bits) + "-bit weight";
}

}  // namespace

QuantizationFacts quantization_facts(const SavedModel& saved) {
  const auto* quantization = saved.session->find<Quantization>();
  if (!quantization || !quantization->active())
    throw InputError(saved.checkpoint.string() + ": " +
                     (quantization ? float_rules::kNotBegun : float_rules::kNotQuantized).sentence);
  const auto trained = quantization->trained(saved.session->state());
  QuantizationFacts facts;
  facts.title = saved.card.model + " of " + saved.checkpoint.string();
  facts.scheme = trained.plan.scheme;
  add_layers(facts, trained.plan);
  add_quantizers(facts, trained);
  if (facts.scheme != "cpu") {
    for (auto& layer : facts.layers) layer.engine = in_tensorrt(layer);
    return facts;
  }
  const auto kernels = kernels_in_onnxruntime(saved);
  for (auto& layer : facts.layers) {
    const auto found = kernels.find(onnx::node_name(layer.site));
    layer.engine = found == kernels.end() ? "not in the file" : found->second;
  }
  return facts;
}

std::string quantization_text(const QuantizationFacts& facts) {
  const std::string engine = facts.scheme == "cpu" ? "ONNX Runtime" : "TensorRT";
  std::vector<std::vector<std::string>> layers = {
      {"layer", "arithmetic", "input", "output", engine, "why float"}};
  for (const auto& layer : facts.layers)
    layers.push_back({layer.site, arithmetic(layer), number_of(layer.input), number_of(layer.output),
                      layer.engine, layer.integer ? "" : layer.left.why()});
  std::vector<std::vector<std::string>> quantizers = {
      {"quantizer", "tensor", "scale", "zero point", "lowest", "highest", "also rounds", "reaches"}};
  for (std::size_t i = 0; i < facts.quantizers.size(); ++i) {
    const auto& one = facts.quantizers[i];
    quantizers.push_back({number_of(static_cast<int>(i)), one.site, format_number(one.scale),
                          std::to_string(one.zero_point), format_number(one.lowest),
                          format_number(one.highest), format_list(one.shared), format_list(one.carried)});
  }
  return facts.title + ", quantized for " + facts.scheme + "\n\n" + format_table(layers) + "\n" +
         format_table(quantizers);
}

json quantization_json(const QuantizationFacts& facts) {
  const auto reference = [](int quantizer) { return quantizer < 0 ? json(nullptr) : json(quantizer); };
  json layers = json::array(), quantizers = json::array();
  for (const auto& layer : facts.layers) {
    layers.push_back({{"site", layer.site},
                      {"integer", layer.integer},
                      {"input", reference(layer.input)},
                      {"output", reference(layer.output)},
                      {"engine", layer.engine}});
    if (layer.integer)
      layers.back()["weight_bits"] = layer.bits;
    else
      layers.back()["rule"] = layer.left.rule, layers.back()["reason"] = layer.left.reason;
  }
  for (const auto& one : facts.quantizers)
    quantizers.push_back({{"site", one.site},
                          {"scale", one.scale},
                          {"zero_point", one.zero_point},
                          {"lowest", one.lowest},
                          {"highest", one.highest},
                          {"shared", one.shared},
                          {"carried", one.carried}});
  return {{"title", facts.title}, {"scheme", facts.scheme}, {"layers", layers}, {"quantizers", quantizers}};
}

}  // namespace sparsify
