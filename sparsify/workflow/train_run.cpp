// SPDX-License-Identifier: Apache-2.0
#include "workflow/train_run.hpp"

#include <chrono>
#include <cstdio>

#include "sparsify/detection/detection_task.hpp"
#include "sparsify/modifiers/quantization.hpp"
#include "sparsify/session.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "workflow/detection_pictures.hpp"
#include "workflow/detection_plots.hpp"
#include "workflow/export_run.hpp"
#include "workflow/input_error.hpp"
#include "workflow/metrics_table.hpp"
#include "workflow/report_html.hpp"
#include "workflow/saved_model.hpp"
#include "workflow/summary.hpp"
#include "workflow/train_inputs.hpp"

namespace sparsify {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string shell_quoted(const std::string& text) {
  if (text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+=:,@%") ==
      std::string::npos)
    return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

void compare_with_baseline(Summary& summary, const Settings& settings, const json& baseline) {
  if (!baseline.is_object()) return;
  summary.baseline_run = settings.baseline;
  summary.baseline = baseline.at("final").get<double>();
  const auto differs = [&](const char* what, const json& theirs, const json& ours) {
    if (theirs != ours)
      summary.warnings.push_back("the baseline's " + std::string(what) + " is " + theirs.dump() +
                                 ", this run's " + ours.dump() + ": the two are not comparable");
  };
  differs("model", baseline.value("model", json()), summary.model);
  differs("data", baseline.value("data", json()), summary.data);
  differs("number of epochs", baseline.value("epochs", json()), summary.epochs);
}

}  // namespace

class TrainRun::Impl {
 public:
  Impl(TrainRequest request, TrainRunEvents events)
      : events_(std::move(events)), export_model_(request.export_model), one_shot_(request.one_shot) {
    inputs_ = gather(request, [&](const std::string& text) { note(text); });
    auto options = train_options(inputs_.settings);
    options.output = inputs_.directory.path();
    options.resume = inputs_.resume;
    options.teacher = inputs_.teacher;
    options.metadata = to_metadata(inputs_.card());
    TrainEvents hear;
    hear.progress = events_.progress;
    hear.stop_requested = events_.stop_requested;
    hear.note = [this](const std::string& text) { note(text); };
    hear.epoch = [this](const EpochMetrics& row) {
      if (events_.epoch) events_.epoch(row, metric_of(inputs_.settings.model), inputs_.settings.epochs);
    };
    as_input([&] {
      trainer_ = std::make_unique<Trainer>(inputs_.opened.task, inputs_.recipe.recipe, options, hear);
    });
  }

  json run() {
    if (!inputs_.begun) inputs_.directory.begin(inputs_.recipe.text, inputs_.config());
    write_data_report();
    if (events_.began) events_.began(inputs_.directory, description());
    if (!one_shot_) train();
    const auto started = Clock::now();
    if (one_shot_) apply_once();
    auto summary = evaluate_and_export();
    const auto metrics =
        read_metrics(inputs_.directory.metrics());  // over all parts of a run that was resumed
    if (const auto epochs = metrics.find("seconds"); epochs != metrics.end())
      for (const double epoch : epochs->second) summary.seconds += epoch;
    summary.seconds += seconds_since(started);
    return write(summary);
  }

  const TrainInputs& inputs() const { return inputs_; }

 private:
  // The data of a run that goes on may have been mended since it began.
  void write_data_report() const {
    const auto file = inputs_.directory.data_report();
    if (!inputs_.opened.data_report.empty()) {
      write_file_atomically(file, inputs_.opened.data_report);
    } else {
      std::error_code ignored;
      std::filesystem::remove(file, ignored);
    }
  }

  std::string description() const {
    char parameters[32];
    std::snprintf(parameters, sizeof parameters, "%.2f M",
                  static_cast<double>(parameter_count(inputs_.opened.task->network())) / 1e6);
    const auto& settings = inputs_.settings;
    return settings.model + " (" + parameters + " parameters) on " + settings.data + ": " +
           inputs_.opened.describe + "; " +
           (one_shot_ ? std::string("applied once, nothing is trained")
                      : std::to_string(settings.epochs) + " epochs in " + to_string(trainer_->precision())) +
           " on " + parse_device(settings.device).str();
  }

  void note(const std::string& text) const {
    if (events_.note) events_.note(text);
  }
  void warn(Summary& summary, const std::string& text) const {
    summary.warnings.push_back(text);
    if (events_.warning) events_.warning(text);
  }

  void disagree(Summary& summary, const std::string& text) const {
    summary.agrees = false;
    warn(summary, text);
  }

  std::string resume_command() const {
    return "sparsify train --resume --output " + shell_quoted(inputs_.directory.path().string());
  }

  void stop_if_asked() const {
    if (events_.stop_requested && events_.stop_requested())
      throw Interrupted("stopped; nothing is lost, go on with: " + resume_command());
  }

  void train() {
    TrainResult result;
    try {
      result = trainer_->run();
    } catch (const std::exception&) {
      if (!inputs_.begun) inputs_.directory.discard();
      if (inputs_.directory.holds_run())
        note("what was trained until then is kept; to go on: " + resume_command());
      throw;
    }
    stop_if_asked();
  }

  void apply_once() {
    auto calibration = *one_shot_;
    calibration.batch_size = inputs_.settings.batch_size, calibration.workers = inputs_.settings.workers;
    try {
      trainer_->apply_once(calibration);
    } catch (const std::exception&) {
      inputs_.directory.discard();
      throw;
    }
  }

  Summary evaluate_and_export() {
    Summary summary;
    const auto& settings = inputs_.settings;
    summary.recipe = inputs_.recipe_name;
    summary.model = settings.model;
    summary.data = settings.data;
    summary.target = settings.target;
    summary.epochs = one_shot_ ? 0 : settings.epochs;
    summary.files = {{"last.safetensors", inputs_.directory.last()}};
    if (!one_shot_) summary.files["best.safetensors"] = inputs_.directory.best();
    const auto* quantization = trainer_->session().find<Quantization>();
    summary.facts =
        measure(trainer_->session().state().parameters, quantization ? &quantization->plan() : nullptr);
    const auto validation = open_validation();
    summary.metric = validation->metric();
    if (export_model_) {
      export_and_compare(summary, *validation);
    } else {
      note("evaluating on " + std::to_string(validation->images()) + " images");
      summary.final =
          evaluate(*validation, as_exported(inputs_.opened.task->network(), trained_forward(), form()));
    }
    compare_with_baseline(summary, settings, inputs_.baseline);
    return summary;
  }

  ExportForm form() const {
    ExportForm form;
    form.target = parse_target(inputs_.settings.target);
    return form;
  }

  /// Of a detector, what was found is kept to be drawn.
  std::shared_ptr<Validation> open_validation() {
    const auto objects = as_objects(inputs_.opened.data);
    if (!objects) return inputs_.opened.task->validation();
    const auto& settings = inputs_.settings;
    judged_ = objects->detection_validation(settings.batch_size, settings.workers);
    return judged_;
  }

  /// The export is made from the checkpoint on disk and compared with the model in memory: both are tested at
  /// once.
  void export_and_compare(Summary& summary, Validation& validation) {
    const auto& settings = inputs_.settings;
    const auto path = inputs_.directory.model(settings.target);
    note("exporting " + path.string());
    const auto saved = open_saved_model(inputs_.directory.last());
    const auto outcome = export_checked(saved, inputs_.opened.data->first_image(), form(), path);
    summary.files[path.filename().string()] = path;
    for (const auto& warning : outcome.warnings) warn(summary, warning);
    for (const auto& broken : outcome.broken) disagree(summary, broken);
    if (settings.target == "cpu") summary.integer_layers = outcome.integer_layers;
    if (outcome.report.quantized_layers > 0 && settings.target == "cpu")
      note("ONNX Runtime computes " + std::to_string(outcome.integer_layers) + " of " +
           std::to_string(outcome.report.quantized_layers) + " quantized layers in integers");
    stop_if_asked();
    note("comparing with ONNX Runtime on " + std::to_string(validation.images()) + " images");
    const auto parity = compare(
        validation, as_exported(inputs_.opened.task->network(), trained_forward(), form()),
        open_engine(path, form().target), [&](const std::string& what, std::int64_t done, std::int64_t of) {
          stop_if_asked();
          if (events_.comparing) events_.comparing(what, done, of);
        });
    summary.final = parity.trained;
    summary.parity["onnxruntime"] = parity;
    for (const auto& complaint : complaints(parity, "ONNX Runtime")) disagree(summary, complaint);
  }

  /// Of a detector: what it was to find and what it finds, and how well.
  void draw_pictures(Summary& summary) {
    const auto objects = as_objects(inputs_.opened.data);
    if (!objects) return;
    for (const auto& picture : write_detection_pictures(
             objects->images(),
             {"trained", inputs_.card(), trained_forward(), reader_of(inputs_.opened.task->network())},
             inputs_.directory.path()))
      summary.files[picture.filename().string()] = picture;
    for (const auto& plot : write_detection_plots(*judged_, 0, inputs_.directory.path()))
      summary.files[plot.filename().string()] = plot;
  }

  /// The trained network as its export computes it.
  Forward trained_forward() {
    auto& network = inputs_.opened.task->network();
    network.eval();
    return [&, device = parse_device(inputs_.settings.device)](const at::Tensor& images) {
      return trainer_->session().evaluate([&] { return network.outputs(images.to(device)); });
    };
  }

  json write(Summary& summary) {
    const auto& directory = inputs_.directory;
    draw_pictures(summary);
    if (!one_shot_) summary.files["metrics.csv"] = directory.metrics();
    auto written = to_json(summary);
    write_file_atomically(directory.report(),
                          report_html(written, inputs_.baseline, read_metrics(directory.metrics())));
    summary.files["report.html"] = directory.report();
    written = to_json(summary);
    write_file_atomically(directory.summary(), written.dump(2) + "\n");
    return written;
  }

  TrainRunEvents events_;
  bool export_model_;
  std::optional<CalibrationOptions> one_shot_;
  TrainInputs inputs_;
  std::unique_ptr<Trainer> trainer_;
  std::shared_ptr<detection::DetectionValidation> judged_;
};

TrainRun::TrainRun(TrainRequest request, TrainRunEvents events)
    : impl_(std::make_unique<Impl>(std::move(request), std::move(events))) {}
TrainRun::~TrainRun() = default;
const RunDirectory& TrainRun::directory() const { return impl_->inputs().directory; }
const json& TrainRun::baseline() const { return impl_->inputs().baseline; }
json TrainRun::run() { return impl_->run(); }

}  // namespace sparsify
