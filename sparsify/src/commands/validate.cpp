// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "command_line.hpp"
#include "commands/commands.hpp"
#include "json_output.hpp"
#include "sparsify/onnx/inspect.hpp"
#include "sparsify/onnx/runtime.hpp"
#include "sparsify/trainers/trainer.hpp"
#include "workflow/input_error.hpp"
#include "workflow/saved_model.hpp"
#include "weights_options.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

/// Something to validate, opened: images [N, 3, H, W] to logits, and the data that it is fed with.
struct Subject {
  std::string description;
  std::function<at::Tensor(const at::Tensor&)> forward;
  trainers::Datasets data;
};

std::string data_for(const CommandLine& line, const std::string& otherwise) {
  const auto spec = line.text("data", otherwise);
  if (spec.empty()) throw InputError("no data is given: use --data D");
  return spec;
}

Subject open_onnx(const CommandLine& line, const std::string& path) {
  const auto facts = onnx::inspect_model(path);
  Subject subject;
  ModelCard card;
  const bool ours = facts.metadata.count("normalization") > 0;
  if (ours) card = card_from(facts.metadata, path);
  trainers::DataOptions options;
  options.image_size = line.integer("image-size", card.image_size, 1, 16384);
  subject.data = trainers::open_datasets(data_for(line, card.data), options);
  if (ours) subject.data.normalization = card.normalization;
  subject.description = path + " in ONNX Runtime " + onnx::Engine::version();
  subject.forward = [engine = std::make_shared<onnx::Engine>(path)](const at::Tensor& images) {
    return engine->run(images);
  };
  return subject;
}

Subject open_run(const CommandLine& line, const std::string& path) {
  refuse_image_size(line, path);
  auto saved = std::make_shared<SavedModel>(open_saved_model(path));
  Subject subject;
  subject.data = open_data_for(saved->card, data_for(line, saved->card.data));
  subject.description = saved->card.model + " of " + saved->checkpoint.string();
  subject.forward = [saved](const at::Tensor& images) { return saved->forward(images); };
  return subject;
}

Subject open_model(const CommandLine& line) {
  if (!line.given("model") || !line.given("weights"))
    throw InputError(
        "what is to be validated? Give a run, a checkpoint or an .onnx file, or --model, --weights and "
        "--data");
  data_for(line, "");
  const auto [model, data] = open_weights(line);
  return {line.text("model") + " with " + line.text("weights"),
          [model = model](const at::Tensor& images) { return model->forward(images); }, data};
}

Subject open_subject(const CommandLine& line) {
  if (line.operands().empty()) return open_model(line);
  const auto path = line.operand("run, checkpoint or .onnx file");
  refuse_weights_beside(line, path);
  return std::filesystem::path(path).extension() == ".onnx" ? open_onnx(line, path) : open_run(line, path);
}

}  // namespace

int validate_command(const std::vector<std::string>& arguments) {
  CommandLine line("validate",
                   "RUN|CHECKPOINT|MODEL.onnx [options]  or  --model M --weights W --data D [options]",
                   "Measures accuracy over the validation part of a data set, in fp32 with quantizers "
                   "active; .onnx files run in\n"
                   "ONNX Runtime. Runs, checkpoints and files exported by sparsify know their data and how "
                   "it is normalised.",
                   "  sparsify validate runs/pruned_quant\n"
                   "  sparsify validate runs/pruned_quant/model.cpu.onnx --json result.json\n"
                   "  sparsify validate --model resnet50 --weights resnet50.pth --data images/\n");
  declare_weights_options(line);
  line.option("how", "batch-size", "images per step (default: 128)", "N");
  line.option("how", "workers", "threads that prepare images (default: 2)", "N");
  line.option("how", "json", "also write the results to this file", "FILE");
  if (!line.parse(arguments)) return 0;
  const auto batch_size = line.integer("batch-size", 128, 1, 1 << 20),
             workers = line.integer("workers", 2, 0, 256);
  check_output_path(line.text("json"), "--json");
  const auto subject = as_input([&] { return open_subject(line); });

  const auto started = std::chrono::steady_clock::now();
  const torch::NoGradGuard no_grad;
  const auto result = evaluate(subject.data, batch_size, workers, subject.forward);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  std::cout << subject.description << "\n"
            << format_table({{"", "value"},
                             {"top-1", format_percent(result.top1)},
                             {"top-5", format_percent(result.top5)},
                             {"loss", std::to_string(result.loss)},
                             {"images", std::to_string(result.images)},
                             {"time", format_seconds(seconds)}});
  write_json(line.text("json"), {{"subject", subject.description},
                                 {"top1", result.top1},
                                 {"top5", result.top5},
                                 {"loss", result.loss},
                                 {"images", result.images},
                                 {"seconds", seconds}});
  return 0;
}

}  // namespace sparsify
