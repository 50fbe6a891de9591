// SPDX-License-Identifier: Apache-2.0
#include "workflow/export_run.hpp"

#include <algorithm>
#include <optional>

#include "sparsify/masks/n_of_m.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/onnx/check.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "sparsify/onnx/lint.hpp"
#include "sparsify/trainers/optimizers.hpp"
#include "workflow/model_card.hpp"
#include "workflow/recipe_quantization.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

/// Removes a file that turned out bad, unless `keep` is called.
class Unless {
 public:
  explicit Unless(std::filesystem::path path) : path_(std::move(path)) {}
  ~Unless() {
    std::error_code ignored;
    if (!kept_) std::filesystem::remove(path_, ignored);
  }
  Unless(const Unless&) = delete;
  Unless& operator=(const Unless&) = delete;
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

// Two products of u8 and s8 are added in 16 bits: 2 * 255 * 63 fits, 2 * 255 * 127 may not.
bool may_saturate(const TrainedQuantization& trained) {
  const auto& weights = trained.plan.weights;
  return std::any_of(weights.begin(), weights.end(),
                     [](const auto& weight) { return weight.highest() > 63; });
}

// Those of `names` that are not in `others`.
std::vector<std::string> without(const std::vector<std::string>& names,
                                 const std::vector<std::string>& others) {
  std::vector<std::string> left;
  for (const auto& name : names)
    if (std::find(others.begin(), others.end(), name) == others.end()) left.push_back(name);
  return left;
}

void compare_with_plan(ExportOutcome& outcome) {
  const auto& planned = outcome.report.quantized;
  const auto integer = onnx::integer_layers(outcome.report.path).integer_layers;
  outcome.integer_layers = static_cast<std::int64_t>(integer.size());
  if (const auto missing = without(planned, integer); !missing.empty())
    outcome.broken.push_back("ONNX Runtime computes these quantized layers in floating point: " +
                             format_list(missing));
  if (const auto surplus = without(integer, planned); !surplus.empty())
    outcome.broken.push_back("ONNX Runtime computes these layers in integers, which training did not: " +
                             format_list(surplus));
}

// Folding and rounding must not have made weights of zeros, nor moved them.
void look_for_two_four(const SavedModel& saved, ExportOutcome& outcome) {
  const auto facts = onnx::inspect_model(outcome.report.path);
  for (const auto& parameter : saved.session->state().parameters) {
    if (!parameter.prunable() || !obeys(parameter.tensor, {2, 4})) continue;
    const bool kept = std::any_of(facts.weights.begin(), facts.weights.end(), [&](const auto& weight) {
      return weight.name == parameter.name && weight.two_four;
    });
    outcome.two_four_layers += kept;
    if (!kept) outcome.broken.push_back("the 2:4 pattern of " + parameter.name + " is not in the file");
  }
}

void look_for_broken_rules(ExportOutcome& outcome) {
  for (const auto& finding : onnx::lint_gpu(outcome.report.path).findings)
    outcome.broken.push_back("TensorRT rule '" + finding.rule + "', node " + finding.node + ": " +
                             finding.message);
}

}  // namespace

onnx::Target parse_target(const std::string& name) {
  return Quantization::scheme_of(name) == "gpu" ? onnx::Target::kGpu : onnx::Target::kCpu;
}

ExportOutcome export_checked(const SavedModel& saved, const at::Tensor& example, onnx::Target target,
                             int opset, const std::filesystem::path& path) {
  std::optional<TrainedQuantization> trained;
  if (const auto* quantization = saved.session->find<Quantization>(); quantization && quantization->active())
    trained = quantization->trained(saved.session->state());
  onnx::ExportOptions options;
  options.target = target;
  options.opset = opset;
  options.graph_name = saved.card.model;
  options.metadata = to_metadata(saved.card);
  if (trained)
    options.metadata["scheme"] = quantization_of(saved.recipe)->scheme;  // the plan knows no presets
  if (saved.requantized) options.metadata["requantized"] = "true";
  auto partial = path;
  partial += ".unchecked";
  Unless leftover(partial);
  ExportOutcome outcome;
  Recordable recordable{*saved.model};
  outcome.report = onnx::export_model(recordable, example, options, partial, trained ? &*trained : nullptr);
  onnx::check_model(partial);
  outcome.report.path = partial;
  target == onnx::Target::kCpu ? compare_with_plan(outcome) : look_for_broken_rules(outcome);
  look_for_two_four(saved, outcome);
  if (target == onnx::Target::kCpu && trained && may_saturate(*trained) &&
      !onnx::default_integers_are_exact())
    outcome.warnings.push_back(
        "this CPU has no VNNI: ONNX Runtime saturates sums of products here, and accuracy suffers, unless "
        "session.x64quantprecision is set to 1 (as in the comparison); scheme cpu-legacy avoids it");
  std::error_code error;
  std::filesystem::rename(partial, path, error);
  if (error) throw Error(path.string() + ": cannot be written: " + error.message());
  leftover.keep();
  outcome.report.path = path;
  return outcome;
}

Forward open_engine(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata) {
  const auto target = metadata.find("target");
  const auto engine = std::make_shared<onnx::Engine>(
      path, onnx::comparison_options(parse_target(target == metadata.end() ? "cpu" : target->second)));
  return [engine](const at::Tensor& images) { return engine->run(Outputs{images}); };
}

at::Tensor example_input(const ModelCard& card) {
  return torch::randn({1, 3, card.image_size, card.image_size}, at::make_generator<at::CPUGeneratorImpl>(0));
}

std::vector<std::string> requantize(SavedModel& saved, const Quantization::Options& options,
                                    const DataSource& data, const CalibrationOptions& calibration) {
  Recipe recipe;
  recipe.add<Quantization>(options);
  recipe.other_name = saved.recipe.other_name;
  saved.session = std::make_unique<Session>(recipe, *saved.model, *saved.optimizer, 1);
  saved.recipe = recipe;
  saved.requantized = true;
  const auto images = data.calibration_images(calibration.batch_size, calibration.workers);
  return calibrate(*saved.session, *saved.model, *images, calibration);
}

}  // namespace sparsify
