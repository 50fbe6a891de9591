// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <iostream>
#include <map>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "command_line.hpp"
#include "commands/commands.hpp"
#include "json_output.hpp"
#include "nms_options.hpp"
#include "picture_paths.hpp"
#include "signals.hpp"
#include "sparsify/detection/draw.hpp"
#include "sparsify/detection/image_input.hpp"
#include "sparsify/detection/labels.hpp"
#include "workflow/input_error.hpp"
#include "workflow/runnable_detector.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<fs::path> images_in(const fs::path& path, const fs::path& output) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    if (!fs::exists(path, ignored)) throw InputError(path.string() + ": no such image or folder");
    return {path};
  }
  auto found = images_below(path, output);
  if (found.empty()) throw InputError(path.string() + ": no .jpg, .jpeg, .png or .bmp image in this folder");
  return found;
}

void check_model_options(const CommandLine& line) {
  if (!line.given("model") || !line.given("weights"))
    throw InputError("--model and --weights are given together: yolov3.cfg and yolov3.weights");
  if (!is_detector(line.text("model")))
    throw InputError("--model " + line.text("model") +
                     ": expected a detector: a .cfg or .yaml file, or yolov3, yolov3-spp, yolov3-tiny");
}

// Takes the run, checkpoint or .onnx file from before the images; empty where --model names the detector.
std::string take_detector(const CommandLine& line, std::vector<std::string>& operands) {
  std::string detector;
  if (line.given("model") || line.given("weights")) {
    check_model_options(line);
  } else {
    if (operands.empty())
      throw InputError("no detector is given: a run, a checkpoint or an .onnx file comes first");
    detector = operands.front();
    operands.erase(operands.begin());
    if (line.given("image-size"))
      throw InputError("--image-size: " + detector + " has an input size of its own");
  }
  if (operands.empty())
    throw InputError("no image is given" +
                     (detector.empty() ? "" : "; " + detector + " is read as the detector"));
  return detector;
}

std::vector<fs::path> all_images(const std::vector<std::string>& operands, const fs::path& output) {
  std::vector<fs::path> images;
  for (const auto& operand : operands)
    for (const auto& image : images_in(operand, output)) images.push_back(image);
  return images;
}

void use_names(const std::string& file, ModelCard& card) {
  card.class_names = detection::read_names(file);
  if (const auto names = static_cast<std::int64_t>(card.class_names.size()); names != card.num_classes)
    throw InputError("--names " + file + ": expected a name for each of the detector's " +
                     std::to_string(card.num_classes) + " classes, got " + std::to_string(names));
}

RunnableDetector open_network(const CommandLine& line, const std::string& path) {
  auto detector = path.empty() ? open_detector(line.text("model"), line.text("weights"),
                                               line.integer("image-size", 0, 32, 4096))
                               : open_detector(fs::path(path));
  if (line.given("names")) use_names(line.text("names"), detector.card);
  return detector;
}

std::string name_of(const RunnableDetector& detector, std::int64_t label) {
  const auto& names = detector.card.class_names;
  return label < static_cast<std::int64_t>(names.size()) ? names[static_cast<std::size_t>(label)]
                                                         : std::to_string(label);
}

std::string counts(const RunnableDetector& detector, const std::vector<detection::Detection>& found) {
  std::map<std::string, int> by_name;
  for (const auto& object : found) ++by_name[name_of(detector, object.label)];
  std::string text;
  for (const auto& [name, count] : by_name)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  return text.empty() ? "nothing" : text;
}

json as_json(const RunnableDetector& detector, const std::vector<detection::Detection>& found) {
  json objects = json::array();
  for (const auto& object : found)
    objects.push_back({{"class", object.label},
                       {"name", name_of(detector, object.label)},
                       {"score", object.score},
                       {"box", {object.x1, object.y1, object.x2, object.y2}}});
  return objects;
}

}  // namespace

int predict_command(const std::vector<std::string>& arguments) {
  CommandLine line(
      "predict", "RUN|CHECKPOINT|MODEL.onnx IMAGE|FOLDER... --output FOLDER [options]",
      "Finds objects in images and draws their boxes; .onnx files run in ONNX Runtime. An image that cannot "
      "be read is\nreported, the others are done, and the exit code is 1. A picture replaces no file: a "
      "second street.jpg becomes\nstreet-2.jpg.",
      "  sparsify predict runs/pruned_quant photographs/ --output found\n"
      "  sparsify predict runs/pruned_quant/model.cpu.onnx street.jpg --output found --conf 0.4\n"
      "  sparsify predict --model yolov3.cfg --weights yolov3.weights --names coco.names street.jpg --output "
      "found\n");
  line.option("network", "model", "a detector's .cfg or .yaml, with --weights, in place of a run", "M");
  line.option("network", "weights", "darknet's .weights, .safetensors, .pt", "W");
  line.option("network", "image-size,imgsz", "with --model: side of the input in pixels", "N");
  line.option("network", "names", "names of the classes, one a line", "FILE");
  declare_nms_options(line, "boxes");
  line.option("results", "output", "folder for the pictures with boxes", "FOLDER");
  line.option("results", "json", "also write the boxes to this file, in pixels of the images", "FILE");
  if (!line.parse(arguments)) return 0;
  const auto output = line.text("output");
  if (output.empty() && line.text("json").empty())
    throw InputError(
        "no place for the results is given: use --output FOLDER for pictures, --json FILE for boxes");
  check_output_path(line.text("json"), "--json");
  detection::NmsOptions options;
  read_nms_options(line, options);
  auto operands = line.operands();
  const auto network = take_detector(line, operands);
  const auto images = all_images(operands, output);
  const auto pictures = output.empty() ? std::vector<fs::path>() : picture_paths(images, output);
  refuse_image(line.text("json"), "--json", images);
  make_folder(output, "--output");
  const auto detector = as_input([&] { return open_network(line, network); });
  catch_stop_signals();
  json results = json::object();
  int failed = 0;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto& path = images[i];
    stop_if_requested("the images after " + path.string() + " were not looked at");
    try {
      const auto image = detection::load_upright(path);
      const auto found = detector.find(image, options);
      results[path.string()] = as_json(detector, found);
      std::cout << path.string() << ": " << counts(detector, found) << std::endl;
      if (!output.empty())
        detection::write_image(detection::draw_boxes(image, found, detector.card.class_names), pictures[i]);
    } catch (const Error& error) {
      ++failed;
      std::cerr << "sparsify predict: " << error.what() << std::endl;
    }
  }
  write_json(line.text("json"), results);
  if (!output.empty())
    std::cout << images.size() - static_cast<std::size_t>(failed) << " pictures in " << output << "\n";
  return failed ? 1 : 0;
}

}  // namespace sparsify
