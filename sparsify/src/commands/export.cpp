// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <iostream>
#include <memory>

#include <nlohmann/json.hpp>

#include "calibration_options.hpp"
#include "command_line.hpp"
#include "commands/commands.hpp"
#include "image_progress.hpp"
#include "json_output.hpp"
#include "nms_options.hpp"
#include "notes.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "workflow/darknet_files.hpp"
#include "workflow/detectors.hpp"
#include "workflow/export_run.hpp"
#include "workflow/input_error.hpp"
#include "workflow/recipe_quantization.hpp"
#include "workflow/metric_names.hpp"
#include "workflow/parity.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

constexpr std::int64_t kBatch = 128, kWorkers = 2;

struct Inputs {
  SavedModel saved;
  ExportForm form{};
  std::shared_ptr<const DataSource> data{};  ///< null: it is not there, and nothing needs it
};

/// The data that the checkpoint or --data names. When only the checkpoint does and it is gone, the export
/// goes on without.
std::shared_ptr<const DataSource> find_data(const CommandLine& line, const SavedModel& saved) {
  if (line.given("data") || line.given("requantize"))
    return open_data_for(saved.card, line.text("data", saved.card.data), to_stderr);
  try {
    return open_data_for(saved.card, saved.card.data, to_stderr);
  } catch (const Error& error) {
    std::cerr << "the export is not compared with the trained model: " << error.what() << std::endl;
    return nullptr;
  }
}

void read_form(const CommandLine& line, Inputs& inputs) {
  auto& form = inputs.form;
  form.opset = static_cast<int>(line.integer("opset", form.opset, 13, 17));
  form.batch_size = line.integer("batch-size", 0, 1, 1 << 16);
  const bool detector = is_detector(inputs.saved.card.model);
  if (line.given("boxes")) {
    if (!detector) throw InputError("--boxes: " + inputs.saved.card.model + " is no detector");
    form.boxes = detection::parse_box_output(line.text("boxes"));
  }
  for (const std::string option : {"conf", "iou", "max-det"})
    if (line.given(option) && form.boxes != detection::BoxOutput::kNms)
      throw InputError("--" + option + ": only with --boxes nms");
  read_nms_options(line, form.nms);
  if (detector) inputs.saved.card.boxes = form.boxes;  // the data judges what the file gives
}

Inputs open_inputs(const CommandLine& line) {
  if (!line.given("output")) throw InputError("no file is given: use --output FILE.onnx, or FILE.weights");
  check_output_path(line.text("output"), "--output");
  check_output_path(line.text("json"), "--json");
  for (const std::string option : {"scheme", "observer"})
    if (line.given(option) && !line.given("requantize"))
      throw InputError("--" + option + ": without --requantize the model keeps its quantizers");
  Inputs inputs{open_saved_model(line.operand("run directory or checkpoint"))};
  const auto scheme = quantization_scheme(inputs.saved.recipe);
  inputs.form.target =
      as_input([&] { return parse_target(line.text("target", scheme.empty() ? "cpu" : scheme)); });
  const auto target = onnx::name(inputs.form.target);
  if (!scheme.empty() && scheme != target && !line.given("requantize"))
    throw InputError(
        "--target " + target + ": this model was quantized for " + scheme + " engines, whose quantizers " +
        target + " engines do not accept. Train it with scheme: " + target +
        " for a model that computes what training saw, " +
        "or add --requantize to put new quantizers on it, calibrated on training images (accuracy may drop)");
  if (line.given("requantize") && scheme == target && !line.given("scheme"))
    throw InputError("--requantize: the model is quantized for " + scheme +
                     " already; leave the option out to keep its quantizers");
  if (parse_target(line.text("scheme", target)) != inputs.form.target)
    throw InputError("--scheme " + line.text("scheme") + ": is not for target " + target);
  if (parse_observer(line.text("observer", "minmax")) == Observer::kLsq)
    throw InputError("--observer lsq: learns by gradient, in training; expected another");
  read_form(line, inputs);
  inputs.data = find_data(line, inputs.saved);
  return inputs;
}

void requantize(Inputs& inputs, const CommandLine& line, const CalibrationOptions& calibration) {
  std::vector<std::string> notes;
  const auto scheme = line.text("scheme", line.text("target", onnx::name(inputs.form.target)));
  const auto options = requantization(inputs.saved.recipe, scheme, line.text("observer", "minmax"), notes);
  for (const auto& note : requantize(inputs.saved, options, *inputs.data, calibration)) notes.push_back(note);
  for (const auto& note : notes) std::cerr << note << std::endl;
}

/// Why the model is not what its recipe is to make of it; empty when it is.
std::string why_unfinished(const SavedModel& saved) {
  if (saved.requantized) return "";
  try {
    saved.session->finish();
    return "";
  } catch (const Error& error) {
    return "the training of this model is not finished: " + std::string(error.what());
  }
}

nlohmann::json report(const ExportOutcome& outcome, onnx::Target target) {
  nlohmann::json unquantized = nlohmann::json::object();
  for (const auto& layer : outcome.report.unquantized)
    unquantized[layer.site] = {{"rule", layer.rule}, {"reason", layer.reason}};
  std::cout << outcome.report.path.string() << ": " << format_bytes(outcome.report.bytes) << ", "
            << outcome.report.quantized_layers << " of " << outcome.report.layers
            << " layers quantized, ONNX checker passed\n";
  if (outcome.two_four_layers > 0)
    std::cout << "  2:4 holds in " << outcome.two_four_layers << " layers of the file\n";
  for (const auto& layer : outcome.report.unquantized)
    std::cout << "  " << layer.site << " stays float: " << layer.why() << "\n";
  for (const auto& warning : outcome.warnings) std::cout << "warning: " << warning << "\n";
  auto quantized = nlohmann::json{{"layers", outcome.report.quantized_layers}, {"of", outcome.report.layers}};
  if (target == onnx::Target::kCpu) quantized["integer_layers"] = outcome.integer_layers;
  return {{"path", outcome.report.path.string()},
          {"bytes", outcome.report.bytes},
          {"quantized", quantized},
          {"unquantized", unquantized},
          {"two_four", outcome.two_four_layers},
          {"warnings", outcome.warnings}};
}

constexpr const char* kOfOnnx[] = {"target",
                                   "opset",
                                   "batch-size",
                                   "boxes",
                                   "conf",
                                   "iou",
                                   "max-det",
                                   "requantize",
                                   "scheme",
                                   "observer",
                                   "calibration-batches",
                                   "equalize",
                                   "bias-correction",
                                   "data"};

int write_darknet(const CommandLine& line) {
  const std::filesystem::path path = line.text("output");
  for (const std::string option : kOfOnnx)
    if (line.given(option)) throw InputError("--" + option + ": not for darknet's .weights");
  check_output_path(path.string(), "--output");
  check_output_path(line.text("json"), "--json");
  const auto saved = as_input([&] { return open_saved_model(line.operand("run directory or checkpoint")); });
  auto notes = export_darknet(saved, path);
  if (const auto unfinished = why_unfinished(saved); !unfinished.empty())
    notes.push_back("warning: " + unfinished);
  for (const auto& note : notes) std::cerr << note << std::endl;
  const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
  std::cout << path.string() << ": " << format_bytes(bytes) << ", darknet's weights for " << saved.card.model
            << "\n";
  write_json(line.text("json"), {{"path", path.string()}, {"bytes", bytes}, {"notes", notes}});
  return 0;
}

}  // namespace

int export_command(const std::vector<std::string>& arguments) {
  CommandLine line(
      "export", "RUN|CHECKPOINT --output FILE.onnx|FILE.weights [options]",
      "Writes a trained model as ONNX, checks the file, and compares it with the trained model in ONNX "
      "Runtime.\n"
      "Exit code 1 when ONNX Runtime decides otherwise for more than 1 % of the images, or is more than 0.2 "
      "points of top-1\n"
      "off (of a detector: 20 % of the objects, 0.5 points of mAP; --requantize claims no such agreement),\n"
      "when it computes other layers in integers than were quantized, or when TensorRT's rules or 2:4 "
      "patterns\n"
      "are broken; the file is kept then.\n"
      "FILE.weights: the weights of a network that a .cfg describes, as darknet's, in floating point.",
      "  sparsify export runs/pruned_quant --output model.onnx\n"
      "  sparsify export runs/pruned_quant/checkpoints/best.safetensors --target cpu --output best.onnx\n"
      "  sparsify export runs/pruned_quant --target gpu --requantize --output model.gpu.onnx\n"
      "  sparsify export runs/yolov3_pruned_quant --boxes nms --conf 0.3 --output detector.onnx\n"
      "  sparsify export runs/tiny --output tiny.weights\n");
  line.option("export", "output", "the file to write: .onnx, or darknet's .weights", "FILE");
  line.option("export", "target",
              "cpu or gpu, or the name of a scheme: cpu-legacy, deepsparse (default: what the model was "
              "quantized for, else cpu)",
              "cpu|gpu");
  line.option("export", "opset", "13 to 17 (default: 17)", "N");
  line.option("export", "batch-size", "images that a run of the file takes (default: any number)", "N");
  line.option(
      "detectors", "boxes",
      "what the file gives: raw maps of the heads, decoded boxes [N, boxes, 5 + classes], or nms: [N, "
      "max-det, 6], the\nboxes that non-maximum suppression leaves (default: decoded)",
      "raw|decoded|nms");
  declare_nms_options(line, "detectors", "with --boxes nms: ");
  line.flag(
      "export", "requantize",
      "quantize after training, or anew for another target, the layers that the recipe quantizes: calibrated "
      "on training images, marked so");
  line.option("export", "scheme", "with --requantize: cpu, cpu-legacy or gpu (default: the target's)", "S");
  line.option(
      "export", "observer",
      "with --requantize: minmax, percentile, mse, entropy or moving_average_minmax (default: minmax)", "O");
  declare_calibration(line, "export", "requantize");
  line.option("comparison", "data", "validation data (default: what the model was trained on)", "D");
  line.option("comparison", "json", "also write the results to this file", "FILE");
  if (!line.parse(arguments)) return 0;
  if (is_darknet_file(line.text("output"))) return write_darknet(line);
  const auto calibrating = read_calibration(line, "requantize");
  auto inputs = as_input([&] { return open_inputs(line); });
  catch_stop_signals();
  if (line.given("requantize")) requantize(inputs, line, calibrating);

  const auto& saved = inputs.saved;
  const auto unfinished = why_unfinished(saved);
  if (!unfinished.empty()) std::cerr << "warning: " << unfinished << std::endl;
  const auto example = inputs.data ? inputs.data->first_image() : example_input(saved.card);
  const auto outcome = export_checked(saved, example, inputs.form, line.text("output"));
  auto results = report(outcome, inputs.form.target);
  if (!unfinished.empty()) results["warnings"].push_back(unfinished);
  results["requantized"] = saved.requantized;
  auto disagreements = outcome.broken;
  if (inputs.data) {
    Terminal terminal;
    Progress progress(terminal);
    const auto validation = inputs.data->validation(kBatch, kWorkers);
    const auto parity = compare(
        *validation,
        as_exported(
            *saved.model, [&](const at::Tensor& images) { return saved.forward(images); }, inputs.form),
        open_engine(outcome.report.path, inputs.form.target),
        show_images(progress, outcome.report.path.string() + " is written, but was not compared to the end"));
    std::cout << label_of(parity.metric) << " in ONNX Runtime " << format_percent(parity.engine_metric())
              << ", of the " << (saved.requantized ? "requantized" : "trained") << " model "
              << format_percent(parity.trained_metric()) << ", equal decisions "
              << format_percent(parity.agreement) << "\n";
    if (!saved.requantized)  // of that one no parity is claimed
      for (const auto& complaint : complaints(parity, "ONNX Runtime")) disagreements.push_back(complaint);
    results["parity"]["onnxruntime"] = {{"final", parity.engine_metric()},
                                        {"trained", parity.trained_metric()},
                                        {"agreement", parity.agreement},
                                        {"max_difference", parity.max_difference}};
  }
  for (const auto& disagreement : disagreements) results["warnings"].push_back(disagreement);
  write_json(line.text("json"), results);
  require_agreement(disagreements, outcome.report.path.string() + " is kept");
  return 0;
}

}  // namespace sparsify
