// SPDX-License-Identifier: Apache-2.0
// Published darknet models on real images: $SPARSIFY_DATA/yolo-weights and coco128.
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "published.hpp"
#include "sparsify/detection/average_precision.hpp"
#include "sparsify/detection/darknet.hpp"
#include "sparsify/detection/image_input.hpp"
#include "sparsify/detection/labels.hpp"

using namespace sparsify;
using namespace sparsify::detection;
using detection_test::data_folder;
namespace fs = std::filesystem;

namespace {

/// A published model, with its weights.
struct Published {
  std::shared_ptr<Detector> detector;
  std::vector<std::string> names;

  explicit Published(const fs::path& folder, const std::string& model)
      : detector(build_darknet(folder / (model + ".cfg"))),
        names(read_names(folder / (model.ends_with("coco") ? "coco.names" : "voc.names"))) {
    load_darknet_weights(*detector, folder / (model + ".weights"));
    detector->eval();
  }

  std::vector<Detection> operator()(const trainers::Image& image, const NmsOptions& options) const {
    const torch::NoGradGuard no_grad;
    const auto height = detector->image_height, width = detector->image_width;
    const auto maps = detector->forward(stretched(image, height, width));
    return unstretched(non_max_suppression(decode(maps, detector->heads(), height, width)[0], options), image,
                       height, width);
  }
};

struct Expected {
  std::string model, image, name;
  Detection box;
};

std::vector<Expected> reference(const fs::path& file) {
  std::ifstream stream(file);
  std::vector<Expected> all;
  std::string line;
  std::getline(stream, line);  // names of the columns
  while (std::getline(stream, line)) {
    std::vector<std::string> cells;
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    REQUIRE(cells.size() == 8);
    all.push_back({cells[0],
                   cells[1],
                   cells[2],
                   {std::stof(cells[4]), std::stof(cells[5]), std::stof(cells[6]), std::stof(cells[7]),
                    std::stof(cells[3])}});
  }
  return all;
}

}  // namespace

TEST_CASE("published darknet models find what an independent implementation finds") {
  const auto folder = data_folder("yolo-weights");
  const auto expected = reference(folder / "reference-detections.csv");
  REQUIRE(expected.size() > 20);
  for (const std::string model : {"MobileNetV2-YOLOv3-Nano-coco", "MobileNetV2-YOLOv3-Nano-voc"}) {
    const Published published(folder, model);
    for (const auto& entry : fs::directory_iterator(folder / "images")) {
      const auto image = entry.path().filename().string();
      NmsOptions options;
      options.confidence = 0.3;
      options.multi_label = true;  // darknet judges classes one by one
      const auto found = published(trainers::load_image(entry.path()), options);
      std::vector<bool> used(found.size(), false);
      for (const auto& one : expected) {
        if (one.model != model || one.image != image) continue;
        INFO(model << ", " << image << ": " << one.name << " " << one.box.score);
        bool matched = false;
        for (std::size_t i = 0; i < found.size() && !matched; ++i) {
          const auto& box = found[i];
          if (used[i] || published.names.at(static_cast<std::size_t>(box.label)) != one.name) continue;
          matched = iou(box, one.box) >= 0.9 && std::abs(box.score - one.box.score) <= 0.05;
          used[i] = matched;
        }
        CHECK((matched || one.box.score <= 0.4));
      }
      for (std::size_t i = 0; i < found.size(); ++i) {
        INFO(model << ", " << image << ": " << published.names.at(static_cast<std::size_t>(found[i].label))
                   << " " << found[i].score << " is not in the reference");
        CHECK((used[i] || found[i].score <= 0.4));
      }
    }
  }
}

TEST_CASE("a published darknet model reaches its mean average precision on 128 images of COCO") {
  const auto images = data_folder("coco128");
  const Published published(data_folder("yolo-weights"), "MobileNetV2-YOLOv3-Nano-coco");
  AveragePrecision metric(Interpolation::kAllPoints, 300);
  NmsOptions options;
  options.confidence = 0.005;
  options.multi_label = true;
  std::int64_t count = 0;
  for (const auto& entry : fs::directory_iterator(images / "images" / "val2017")) {
    const auto image = trainers::load_image(entry.path());
    metric.add(published(image, options),
               read_yolo_labels(images / "labels" / "val2017" / (entry.path().stem().string() + ".txt"), 80,
                                static_cast<double>(image.width()), static_cast<double>(image.height())));
    ++count;
  }
  CHECK(count == 128);
  const auto metrics = metric.compute();
  INFO("mAP@0.5 " << metrics.map50 << ", mAP@0.5:0.95 " << metrics.map);
  CHECK(std::abs(metrics.map50 - 0.367) <= 0.01);
}
