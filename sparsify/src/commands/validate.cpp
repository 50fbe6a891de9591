// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <filesystem>
#include <iostream>
#include <optional>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "command_line.hpp"
#include "commands/commands.hpp"
#include "json_output.hpp"
#include "notes.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "image_progress.hpp"
#include "sparsify/onnx/runtime.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "workflow/class_table.hpp"
#include "workflow/coco_results.hpp"
#include "workflow/detection_pictures.hpp"
#include "workflow/detection_plots.hpp"
#include "workflow/image_data.hpp"
#include "workflow/input_error.hpp"
#include "workflow/metric_names.hpp"
#include "workflow/parity_report.hpp"
#include "workflow/runnable_detector.hpp"
#include "workflow/saved_model.hpp"
#include "weights_options.hpp"
#include "workflow/export_run.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

/// Something to validate, opened: a network, and the data that it is fed with.
struct Subject {
  std::string description;
  Forward forward;
  std::shared_ptr<const DataSource> data;
  ModelCard card{};  ///< of a detector
};

std::string data_for(const CommandLine& line, const std::string& otherwise) {
  const auto spec = line.text("data", otherwise);
  if (spec.empty()) throw InputError("no data is given: use --data D");
  return spec;
}

[[noreturn]] void refuse_rectangles(const std::string& path, const ModelCard& card) {
  const auto side = std::to_string(card.image_size);
  throw InputError("--rect: " + path + " takes images of " + side + " x " + side +
                   " pixels and no others; expected the run or checkpoint it was made from, or --model and "
                   "--weights");
}

Subject open_onnx(const CommandLine& line, const std::string& path) {
  const auto facts = onnx::inspect_model(path);
  Subject subject;
  if (facts.metadata.count("normalization")) {
    refuse_image_size(line, path);
    subject.card = card_from(facts.metadata, path);
    if (line.given("rect") && is_detector(subject.card.model)) refuse_rectangles(path, subject.card);
    subject.data = open_data_for(subject.card, data_for(line, subject.card.data), to_stderr);
  } else {
    trainers::DataOptions options;
    options.image_size = line.integer("image-size", 0, 1, 16384);
    subject.data = std::make_shared<ImageData>(trainers::open_datasets(data_for(line, ""), options));
  }
  subject.description = path + " in ONNX Runtime " + onnx::Engine::version();
  subject.forward = open_engine(path, facts.metadata);
  return subject;
}

Subject open_run(const CommandLine& line, const std::string& path) {
  refuse_image_size(line, path);
  auto saved = std::make_shared<SavedModel>(open_saved_model(path));
  Subject subject;
  subject.card = saved->card;
  subject.data = open_data_for(saved->card, data_for(line, saved->card.data), to_stderr);
  subject.description = saved->card.model + " of " + saved->checkpoint.string();
  subject.forward = [saved](const at::Tensor& images) { return saved->forward(images); };
  return subject;
}

Subject open_model(const CommandLine& line) {
  if (!line.given("model") || !line.given("weights"))
    throw InputError(
        "what is to be validated? Give a run, a checkpoint or an .onnx file, or --model, --weights and "
        "--data");
  const auto data_name = data_for(line, "");
  if (is_detector(line.text("model"))) {
    const auto detector =
        open_detector(line.text("model"), line.text("weights"), line.integer("image-size", 0, 32, 4096));
    return {detector.description, detector.forward, open_objects_for(detector.card, data_name, to_stderr),
            detector.card};
  }
  const auto [model, data] = open_weights(line);
  return {line.text("model") + " with " + line.text("weights"),
          [model = model](const at::Tensor& images) { return model->outputs(images); },
          std::make_shared<ImageData>(data)};
}

Subject open_subject(const CommandLine& line) {
  if (line.operands().empty()) return open_model(line);
  const auto path = line.operand("run, checkpoint or .onnx file");
  refuse_weights_beside(line, path);
  return std::filesystem::path(path).extension() == ".onnx" ? open_onnx(line, path) : open_run(line, path);
}

constexpr const char* kOfDetectors[] = {"plots", "save-json", "rect"};

void check_options(const CommandLine& line) {
  for (const std::string option : {"json", "html", "save-json"})
    check_output_path(line.text(option), "--" + option);
  for (const std::string option : {"parity-images", "html"})
    if (line.given(option) && !line.given("parity")) throw InputError("--" + option + ": only with --parity");
  for (const std::string option : kOfDetectors)
    if (line.given(option) && line.given("parity")) throw InputError("--" + option + ": not with --parity");
}

void check_options_for(const CommandLine& line, const Subject& subject) {
  for (const std::string option : kOfDetectors)
    if (line.given(option) && !as_objects(subject.data))
      throw InputError("--" + option + ": only for detectors, not for " + subject.description);
}

/// A pass over the data, and the same one where it is a detector's.
struct Pass {
  std::shared_ptr<Validation> validation;
  std::shared_ptr<detection::DetectionValidation> of_detector{};
};

Pass open_pass(const Subject& subject, std::int64_t batch_size, std::int64_t workers, bool rectangular) {
  const auto objects = as_objects(subject.data);
  if (!objects) return {subject.data->validation(batch_size, workers)};
  const std::shared_ptr<detection::DetectionValidation> pass =
      objects->detection_validation(batch_size, workers, rectangular);
  return {pass, pass};
}

// results.json -> results_ground_truth.json
std::string ground_truth_beside(const std::filesystem::path& file) {
  return (file.parent_path() / (file.stem().string() + "_ground_truth.json")).string();
}

/// What a detector's pass found, written while it runs.
class SavedResults {
 public:
  SavedResults(const CommandLine& line, const Pass& pass) : path_(line.text("save-json")) {
    if (path_.empty()) return;
    data_ = &pass.of_detector->data();
    results_.emplace(path_, *data_);
    pass.of_detector->listen(0,
                             [this](std::int64_t image, const auto& found) { results_->add(image, found); });
  }
  SavedResults(const SavedResults&) = delete;
  SavedResults& operator=(const SavedResults&) = delete;
  void finish() {
    if (!results_) return;
    results_->finish();
    write_json(ground_truth_beside(path_), coco_ground_truth(*data_));
  }

 private:
  std::string path_;
  const detection::DetectionDataset* data_ = nullptr;
  std::optional<CocoResults> results_{};
};

/// `forward` that counts the pixels it is given.
Forward counting(Forward forward, std::int64_t& pixels) {
  return [forward = std::move(forward), &pixels](const at::Tensor& images) {
    pixels += images.size(0) * images.size(2) * images.size(3);
    return forward(images);
  };
}

std::string part_of_squares(std::int64_t pixels, const Subject& subject, const Evaluation& result) {
  const auto side = static_cast<double>(subject.card.image_size);
  return format_percent(static_cast<double>(pixels) / (static_cast<double>(result.images) * side * side));
}

/// Figures by class, plots and pictures.
void report_detector(const CommandLine& line, const Subject& subject,
                     const detection::DetectionValidation& pass, nlohmann::json& results) {
  const auto metrics = pass.metrics(0);
  const auto& names = pass.data().class_names();
  std::cout << "\n" << class_table(metrics, pass.images(), names);
  results["confidence"] = metrics.confidence;
  results["classes"] = class_json(metrics, names);
  if (!line.given("plots")) return;
  const auto objects = as_objects(subject.data);
  auto files = write_detection_plots(pass, 0, line.text("plots"));
  for (const auto& picture : write_detection_pictures(
           objects->images(), {subject.description, subject.card, subject.forward, objects->reader()},
           line.text("plots")))
    files.push_back(picture);
  for (const auto& file : files) std::cout << file.string() << "\n";
}

int measure_parity(const CommandLine& line, std::int64_t batch_size, std::int64_t workers) {
  const auto images = line.integer("parity-images", 256, 1, 1 << 20);
  const auto path = line.operand("run directory or checkpoint");
  refuse_weights_beside(line, path);
  refuse_image_size(line, path);
  if (std::filesystem::path(path).extension() == ".onnx")
    throw InputError("--parity: give the run or checkpoint that " + path +
                     " was made from; the file alone does not hold the model it is to be compared with");
  const auto saved = as_input([&] { return open_saved_model(path); });
  const auto data =
      as_input([&] { return open_data_for(saved.card, data_for(line, saved.card.data), to_stderr); });
  catch_stop_signals();
  Terminal terminal;
  Progress progress(terminal);
  const auto parity = measure_layer_parity(saved, *data, batch_size, workers, images,
                                           show_images(progress, "nothing was written"));
  for (const auto& warning : parity.warnings) std::cerr << "warning: " << warning << std::endl;
  const auto title = "Parity of " + saved.card.model + ", " + saved.checkpoint.string();
  std::cout << title << "\n\n" << parity_text(parity);
  if (line.given("html")) write_file_atomically(line.text("html"), parity_html(parity, title));
  write_json(line.text("json"), parity_json(parity));
  auto disagreements = parity.broken;
  for (const auto& complaint : complaints(parity.whole, parity.engine)) disagreements.push_back(complaint);
  require_agreement(disagreements);
  return 0;
}

}  // namespace

int validate_command(const std::vector<std::string>& arguments) {
  CommandLine line(
      "validate", "RUN|CHECKPOINT|MODEL.onnx [options]  or  --model M --weights W --data D [options]",
      "Measures accuracy over the validation part of a data set, in fp32 with quantizers "
      "active; .onnx files run in\n"
      "ONNX Runtime (those for GPU engines as they stand, unfused). Runs, checkpoints and files exported by "
      "sparsify know their data and how "
      "it is normalised.\n"
      "Of a detector, also by class: P, R and F1 are those at the confidence where the mean F1 is best.\n"
      "With --parity: a quantized run beside its export in ONNX Runtime, end to end and for each "
      "rounded tensor: how many\n"
      "integers differ, by how much, and where it begins. Exit code 1 when more than 1 % of the "
      "decisions differ, or top-1\n"
      "by more than 0.2 points (of a detector: 20 % of the objects, 0.5 points of mAP).",
      "  sparsify validate runs/pruned_quant\n"
      "  sparsify validate runs/pruned_quant --parity --html parity.html\n"
      "  sparsify validate runs/pruned_quant/model.cpu.onnx --json result.json\n"
      "  sparsify validate runs/detector --plots plots --save-json predictions.json\n"
      "  sparsify validate --model resnet50 --weights resnet50.pth --data images/\n");
  declare_weights_options(line);
  line.option("how", "batch-size", "images per step (default: 128)", "N");
  line.option("how", "workers", "threads that prepare images (default: 2)", "N");
  line.option("how", "json", "also write the results to this file", "FILE");
  line.option("detectors", "plots",
              "write PR_curve.svg, F1_curve.svg, confusion_matrix.svg, and the first 16 images with their "
              "objects and with what is found, labels.jpg and predictions.jpg, here",
              "FOLDER");
  line.option("detectors", "save-json",
              "write what is found as COCO's results, and the objects beside it (FILE_ground_truth.json)",
              "FILE");
  line.flag("detectors", "rect",
            "batches of images of like shape, as large as these need, rounded up to the stride, in place of "
            "squares: fewer pixels, slightly other mAP");
  line.flag("parity", "parity", "compare the exported INT8 model with the run, tensor by tensor");
  line.option("parity", "parity-images", "images on which tensors are compared (default: 256)", "N");
  line.option("parity", "html", "also write the comparison as a page with a chart", "FILE");
  if (!line.parse(arguments)) return 0;
  const auto batch_size = line.integer("batch-size", 128, 1, 1 << 20),
             workers = line.integer("workers", 2, 0, 256);
  check_options(line);
  if (line.given("parity")) return measure_parity(line, batch_size, workers);
  const auto subject = as_input([&] { return open_subject(line); });
  check_options_for(line, subject);
  make_folder(line.text("plots"), "--plots");

  const auto started = std::chrono::steady_clock::now();
  const torch::NoGradGuard no_grad;
  catch_stop_signals();
  Terminal terminal;
  Progress progress(terminal);
  const auto pass = as_input([&] { return open_pass(subject, batch_size, workers, line.given("rect")); });
  std::int64_t pixels = 0;
  SavedResults saved(line, pass);
  const auto result = evaluate(
      *pass.validation, reporting(counting(subject.forward, pixels), "validating", pass.validation->images(),
                                  show_images(progress, "nothing was written")));
  saved.finish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  std::vector<std::vector<std::string>> rows = {{"", "value"}};
  nlohmann::json results = {
      {"subject", subject.description}, {"images", result.images}, {"seconds", seconds}};
  for (const auto& [name, value] : result.figures) {
    rows.push_back({label_of(name), name == "loss" ? std::to_string(value) : format_percent(value)});
    results[name] = value;
  }
  rows.push_back({"images", std::to_string(result.images)});
  if (pass.of_detector)
    results["input_pixels"] = static_cast<double>(pixels) / static_cast<double>(result.images);
  if (line.given("rect")) rows.push_back({"pixels, of squares", part_of_squares(pixels, subject, result)});
  rows.push_back({"time", format_seconds(seconds)});
  std::cout << subject.description << "\n" << format_table(rows);
  if (pass.of_detector) report_detector(line, subject, *pass.of_detector, results);
  write_json(line.text("json"), results);
  return 0;
}

}  // namespace sparsify
