// SPDX-License-Identifier: Apache-2.0
// Detections and objects as COCO's files: which numbers images and categories get.
#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <optional>

#include "workflow/coco_results.hpp"

using namespace sparsify;
using namespace sparsify::detection;
using nlohmann::json;

namespace {

/// Two images of 40 x 20 pixels; the first has an object of class 1.
class TwoImages : public DetectionDataset {
 public:
  TwoImages(std::string first, std::string second)
      : DetectionDataset({"cat", "dog"}), paths_{std::move(first), std::move(second)} {}

  std::int64_t size() const override { return 2; }
  ImageSize image_size(std::int64_t /*index*/) const override { return {20, 40}; }
  trainers::Image image(std::int64_t /*index*/, std::int64_t /*at_least*/) const override { return {}; }
  const std::vector<GroundTruth>& objects(std::int64_t index) const override {
    return objects_[static_cast<std::size_t>(index)];
  }
  std::string describe(std::int64_t index) const override { return paths_[static_cast<std::size_t>(index)]; }

 private:
  std::vector<std::string> paths_;
  std::vector<std::vector<GroundTruth>> objects_{{{1.5F, 2, 11.5F, 6, 1}}, {}};
};

class Numbered : public TwoImages {
 public:
  Numbered() : TwoImages("a/1.jpg", "a/2.jpg") {}
  std::optional<std::int64_t> image_id(std::int64_t index) const override { return 700 + index; }
  std::int64_t category_id(std::int64_t label) const override { return label == 0 ? 17 : 90; }
};

json image_ids(const DetectionDataset& data) {
  const auto truth = coco_ground_truth(data);
  auto ids = json::array();
  for (const auto& image : truth.at("images")) ids.push_back(image.at("id"));
  return ids;
}

}  // namespace

TEST_CASE("images have COCO's numbers, or their stems, as numbers where all are, or their paths") {
  CHECK(image_ids(Numbered()) == json{700, 701});
  CHECK(image_ids(TwoImages("a/000012.jpg", "b/7.png")) == json{12, 7});
  CHECK(image_ids(TwoImages("a/000012.jpg", "b/street.png")) == json{"000012", "street"});
  CHECK(image_ids(TwoImages("a/1.jpg", "b/1.jpg")) == json{"a/1.jpg", "b/1.jpg"});
  CHECK(image_ids(TwoImages("a/01.jpg", "a/1.jpg")) == json{"a/01.jpg", "a/1.jpg"});
}

TEST_CASE("objects and detections are written with the same numbers") {
  const Numbered data;
  const auto truth = coco_ground_truth(data);
  CHECK(truth.at("annotations") == json::parse(R"([{"id": 1, "image_id": 700, "category_id": 90,
      "bbox": [1.5, 2.0, 10.0, 4.0], "area": 40.0, "iscrowd": 0}])"));
  CHECK(truth.at("categories") == json::parse(R"([{"id": 17, "name": "cat"}, {"id": 90, "name": "dog"}])"));
  CHECK(truth.at("images")[1] ==
        json::parse(R"({"id": 701, "file_name": "2.jpg", "width": 40, "height": 20})"));

  const auto file = std::filesystem::temp_directory_path() /
                    ("sparsify_coco_results_" + std::to_string(std::hash<const void*>()(&data)) + ".json");
  CocoResults results(file, data);
  results.add(0, {{1, 2, 4, 8, 0.5F, 0}, {0, 0, 1, 1, 0.25F, 1}});
  results.add(1, {});
  CHECK_FALSE(std::filesystem::exists(file));
  results.finish();
  CHECK(json::parse(std::ifstream(file)) == json::parse(R"([
      {"image_id": 700, "category_id": 17, "bbox": [1.0, 2.0, 3.0, 6.0], "score": 0.5},
      {"image_id": 700, "category_id": 90, "bbox": [0.0, 0.0, 1.0, 1.0], "score": 0.25}])"));
  std::filesystem::remove(file);
}
