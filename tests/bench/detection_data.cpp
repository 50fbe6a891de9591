// SPDX-License-Identifier: Apache-2.0
#include <torch/torch.h>

#include <filesystem>

#include "bench.hpp"
#include "sparsify/detection/dataset.hpp"
#include "sparsify/detection/draw.hpp"
#include "sparsify/onnx/temporary_folder.hpp"
#include "sparsify/trainers/atomic_file.hpp"
#include "sparsify/trainers/counter_rng.hpp"
#include "yolov3_training.hpp"

namespace sparsify::bench {
namespace {

namespace fs = std::filesystem;
using detection::GroundTruth;

constexpr int kEpochPairs = 5;
constexpr int64_t kSteps = 8, kImages = kSteps * YoloV3::kBatchSize;
constexpr int64_t kHeight = 480, kWidth = 640;

std::vector<std::string> class_names() {
  std::vector<std::string> names;
  for (int64_t i = 0; i < YoloV3::kClasses; ++i) names.push_back("class" + std::to_string(i));
  return names;
}

// Soft shapes and grain: a file as large as a photograph's, and as long to decode.
trainers::Image scenery() {
  const auto shapes = torch::upsample_bilinear2d(torch::rand({1, 3, 30, 40}), {kHeight, kWidth}, false);
  const auto grainy = shapes + torch::randn({1, 3, kHeight, kWidth}) * 0.03;
  const auto rgb = grainy.clamp(0, 1).mul(255).to(torch::kByte).squeeze(0).permute({1, 2, 0}).contiguous();
  const auto* pixels = rgb.const_data_ptr<uint8_t>();
  return {kHeight, kWidth, std::vector<uint8_t>(pixels, pixels + rgb.numel())};
}

std::vector<GroundTruth> random_objects(trainers::CounterRng& random) {
  std::vector<GroundTruth> objects;
  for (int64_t i = 0; i < YoloV3::kObjects; ++i) {
    const float width = random.uniform(20, 320), height = random.uniform(20, 240);
    const float x = random.uniform(0, kWidth - width), y = random.uniform(0, kHeight - height);
    objects.push_back({x, y, x + width, y + height, random.below(YoloV3::kClasses)});
  }
  return objects;
}

// As Ultralytics writes them: class, centre and size, parts of the image's.
std::string label_line(const GroundTruth& object) {
  std::string line = std::to_string(object.label);
  for (const float part : {(object.x1 + object.x2) / 2 / kWidth, (object.y1 + object.y2) / 2 / kHeight,
                           (object.x2 - object.x1) / kWidth, (object.y2 - object.y1) / kHeight})
    line += " " + std::to_string(part);
  return line + "\n";
}

// A set in Ultralytics' layout; gives its data.yaml.
fs::path write_objects(const fs::path& folder) {
  torch::manual_seed(0);
  trainers::CounterRng random(0);
  const auto images = folder / "images" / "train", labels = folder / "labels" / "train";
  fs::create_directories(images), fs::create_directories(labels);
  const auto names = class_names();
  for (int64_t i = 0; i < kImages; ++i) {
    const auto objects = random_objects(random);
    const auto name = std::to_string(i);
    detection::write_image(detection::draw_boxes(scenery(), objects, names), images / (name + ".jpg"));
    std::string lines;
    for (const auto& object : objects) lines += label_line(object);
    write_file_atomically(labels / (name + ".txt"), lines);
  }
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  write_file_atomically(folder / "data.yaml",
                        "train: images/train\nval: images/train\nnames: [" + list + "]\n");
  return folder / "data.yaml";
}

// As the trainers read a set to learn from.
detection::DetectionLoaderOptions training_options() {
  detection::DetectionLoaderOptions options;
  options.batch_size = YoloV3::kBatchSize;
  options.image_size = YoloV3::kImageSize;
  options.shuffle = options.drop_last = options.augment = true;
  return options;
}

Record load_and_train() {
  const onnx::TemporaryFolder folder;
  const auto data = detection::open_detection_datasets(write_objects(folder / "").string());
  detection::DetectionLoader loader(data.train, training_options());
  loader.start_epoch(0);
  const auto cached = loader.next().value();
  int64_t epoch = 0;
  YoloV3 training;
  auto record = compare(
      "data/yolov3",
      "YOLOv3, 416 px: an epoch of " + std::to_string(kSteps) +
          " steps on batches of 4 read from JPEG files and augmented, against as many on one batch in memory "
          "(target: 1.18)",
      kEpochPairs,
      [&] {
        loader.start_epoch(++epoch);
        while (const auto batch = loader.next()) training.learn(*batch);
      },
      [&] {
        for (int64_t i = 0; i < loader.steps_per_epoch(); ++i) training.learn(cached);
      });
  record.precision = to_string(training.precision);
  return record;
}

}  // namespace

std::vector<Comparison> detection_data_comparisons() { return {{"data/yolov3", load_and_train}}; }

}  // namespace sparsify::bench
