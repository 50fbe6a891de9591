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
#include "signals.hpp"
#include "sparsify/detection/draw.hpp"
#include "sparsify/detection/image_input.hpp"
#include "sparsify/detection/labels.hpp"
#include "sparsify/trainers/image_files.hpp"
#include "workflow/input_error.hpp"
#include "workflow/runnable_detector.hpp"

namespace sparsify {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<fs::path> images_in(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    if (!fs::exists(path, ignored)) throw InputError(path.string() + ": no such image or folder");
    return {path};
  }
  auto found = trainers::image_files_in(path);
  if (found.empty()) throw InputError(path.string() + ": no .jpg, .jpeg, .png or .bmp image in this folder");
  return found;
}

RunnableDetector open_network(const CommandLine& line, std::vector<std::string>& images) {
  images = line.operands();
  const auto size = line.integer("image-size", 0, 32, 4096);
  RunnableDetector detector;
  if (line.given("model") || line.given("weights")) {
    if (!line.given("model") || !line.given("weights"))
      throw InputError("--model and --weights are given together: yolov3.cfg and yolov3.weights");
    if (!is_detector(line.text("model")))
      throw InputError("--model " + line.text("model") +
                       ": expected a detector: a .cfg or .yaml file, or yolov3, yolov3-spp, yolov3-tiny");
    detector = open_detector(line.text("model"), line.text("weights"), size);
  } else {
    if (images.empty())
      throw InputError("no detector is given: a run, a checkpoint or an .onnx file comes first");
    if (size > 0) throw InputError("--image-size: " + images.front() + " has an input size of its own");
    detector = open_detector(fs::path(images.front()));
    images.erase(images.begin());
  }
  if (line.given("names")) detector.card.class_names = detection::read_names(line.text("names"));
  if (images.empty()) throw InputError("no image is given");
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

// Pictures of one name from several folders do not overwrite each other.
fs::path free_path(const fs::path& folder, const fs::path& image, std::map<std::string, int>& used) {
  const auto extension = image.extension() == ".png" ? ".png" : ".jpg";
  const auto stem = image.stem().string();
  const int before = used[stem]++;
  return folder / (stem + (before ? "-" + std::to_string(before + 1) : "") + extension);
}

}  // namespace

int predict_command(const std::vector<std::string>& arguments) {
  CommandLine line(
      "predict", "RUN|CHECKPOINT|MODEL.onnx IMAGE|FOLDER... --output FOLDER [options]",
      "Finds objects in images and draws their boxes; .onnx files run in ONNX Runtime. An image that cannot "
      "be read is\nreported, the others are done, and the exit code is 1.",
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
  if (!line.given("output") && !line.given("json"))
    throw InputError(
        "no place for the results is given: use --output FOLDER for pictures, --json FILE for boxes");
  check_output_path(line.text("json"), "--json");
  detection::NmsOptions options;
  read_nms_options(line, options);
  std::vector<std::string> operands;
  const auto detector = as_input([&] { return open_network(line, operands); });
  std::vector<fs::path> paths;
  for (const auto& operand : operands)
    for (const auto& path : images_in(operand)) paths.push_back(path);
  if (line.given("output")) fs::create_directories(line.text("output"));
  catch_stop_signals();
  std::map<std::string, int> used;
  json results = json::object();
  int failed = 0;
  for (const auto& path : paths) {
    stop_if_requested("the images after " + path.string() + " were not looked at");
    try {
      const auto image = detection::load_upright(path);
      const auto found = detector.find(image, options);
      results[path.string()] = as_json(detector, found);
      std::cout << path.string() << ": " << counts(detector, found) << std::endl;
      if (line.given("output"))
        detection::write_image(detection::draw_boxes(image, found, detector.card.class_names),
                               free_path(line.text("output"), path, used));
    } catch (const Error& error) {
      ++failed;
      std::cerr << "sparsify predict: " << error.what() << std::endl;
    }
  }
  write_json(line.text("json"), results);
  if (line.given("output"))
    std::cout << paths.size() - static_cast<std::size_t>(failed) << " pictures in " << line.text("output")
              << "\n";
  return failed ? 1 : 0;
}

}  // namespace sparsify
