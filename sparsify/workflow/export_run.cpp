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
#include "workflow/detectors.hpp"
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

at::Tensor as_many(const at::Tensor& example, std::int64_t batch_size) {
  return batch_size > 0 ? example.expand({batch_size, -1, -1, -1}).contiguous() : example;
}

// What follows a detector's maps in its file.
void end_with_boxes(ModelCard& card, const ExportForm& form, Recordable& recordable,
                    onnx::ExportOptions& options) {
  card.boxes = form.boxes;
  if (form.boxes == detection::BoxOutput::kRaw) return;
  auto reader = reader_of(recordable.network);
  reader.output = detection::BoxOutput::kDecoded;
  recordable.after = [reader, side = card.image_size](const Outputs& maps) {
    return reader.from_raw(maps, side, side, {});
  };
  if (form.boxes == detection::BoxOutput::kNms)
    options.non_max_suppression = {form.nms.confidence, form.nms.iou, form.nms.max_det};
}

// `count` images at a time; what lacks at the end is repeated, and its outputs are cut off.
Outputs run_in_batches(onnx::Engine& engine, const at::Tensor& images, std::int64_t count) {
  std::vector<Outputs> parts;
  for (std::int64_t start = 0; start < images.size(0); start += count) {
    const auto rows = at::arange(start, start + count).clamp_max(images.size(0) - 1);
    parts.push_back(engine.run(Outputs{images.index_select(0, rows)}));
  }
  Outputs outputs;
  for (std::size_t i = 0; i < parts.at(0).size(); ++i) {
    std::vector<at::Tensor> pieces;
    for (const auto& part : parts) pieces.push_back(part.at(i));
    outputs.push_back(at::cat(pieces).narrow(0, 0, images.size(0)));
  }
  return outputs;
}

}  // namespace

onnx::Target parse_target(const std::string& name) {
  return Quantization::scheme_of(name) == "gpu" ? onnx::Target::kGpu : onnx::Target::kCpu;
}

ExportOutcome export_checked(const SavedModel& saved, const at::Tensor& example, const ExportForm& form,
                             const std::filesystem::path& path) {
  std::optional<TrainedQuantization> trained;
  if (const auto* quantization = saved.session->find<Quantization>(); quantization && quantization->active())
    trained = quantization->trained(saved.session->state());
  Recordable recordable{*saved.model};
  auto card = saved.card;
  onnx::ExportOptions options;
  options.target = form.target;
  options.opset = form.opset;
  options.dynamic_batch = form.batch_size == 0;
  options.graph_name = card.model;
  if (is_detector(card.model)) end_with_boxes(card, form, recordable, options);
  options.metadata = to_metadata(card);
  if (trained)
    options.metadata["scheme"] = quantization_of(saved.recipe)->scheme;  // the plan knows no presets
  if (saved.requantized) options.metadata["requantized"] = "true";
  auto partial = path;
  partial += ".unchecked";
  Unless leftover(partial);
  ExportOutcome outcome;
  outcome.report = onnx::export_model(recordable, as_many(example, form.batch_size), options, partial,
                                      trained ? &*trained : nullptr);
  onnx::check_model(partial);
  outcome.report.path = partial;
  form.target == onnx::Target::kCpu ? compare_with_plan(outcome) : look_for_broken_rules(outcome);
  look_for_two_four(saved, outcome);
  if (form.target == onnx::Target::kCpu && trained && may_saturate(*trained) &&
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

Forward open_engine(const std::filesystem::path& path, onnx::Target target) {
  const auto engine = std::make_shared<onnx::Engine>(path, onnx::comparison_options(target));
  return [engine](const at::Tensor& images) {
    const auto count = engine->batch_size();
    return count < 0 || count == images.size(0) ? engine->run(Outputs{images})
                                                : run_in_batches(*engine, images, count);
  };
}

Forward open_engine(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata) {
  const auto target = metadata.find("target");
  return open_engine(path, parse_target(target == metadata.end() ? "cpu" : target->second));
}

Forward as_exported(const Network& network, Forward forward, const ExportForm& form) {
  const auto* detector = dynamic_cast<const detection::Detector*>(&network);
  if (!detector || form.boxes == detection::BoxOutput::kRaw) return forward;
  const detection::BoxReader reader{detector->heads(), form.boxes};
  return [=](const at::Tensor& images) {
    return reader.from_raw(forward(images), images.size(2), images.size(3), form.nms);
  };
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
