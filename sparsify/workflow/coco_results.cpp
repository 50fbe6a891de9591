// SPDX-License-Identifier: Apache-2.0
#include "workflow/coco_results.hpp"

#include <algorithm>
#include <set>
#include <string>

namespace sparsify {
namespace {

using detection::DetectionDataset;
using nlohmann::json;

constexpr std::size_t kMostDigits = 18;  // of 64 bits

bool has_only_digits(const std::string& text) {
  return !text.empty() && text.size() <= kMostDigits &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

std::vector<json> ids_by_stem(const DetectionDataset& data) {
  std::vector<std::string> stems;
  for (std::int64_t i = 0; i < data.size(); ++i)
    stems.push_back(std::filesystem::path(data.describe(i)).stem().string());
  const bool are_numbers = std::all_of(stems.begin(), stems.end(), has_only_digits);
  std::vector<json> ids;
  for (const auto& stem : stems) ids.push_back(are_numbers ? json(std::stoll(stem)) : json(stem));
  if (std::set<json>(ids.begin(), ids.end()).size() == ids.size()) return ids;
  for (std::int64_t i = 0; i < data.size(); ++i) ids[static_cast<std::size_t>(i)] = data.describe(i);
  return ids;
}

std::vector<json> image_ids(const DetectionDataset& data) {
  std::vector<json> ids;
  for (std::int64_t i = 0; i < data.size(); ++i) {
    const auto id = data.image_id(i);
    if (!id) return ids_by_stem(data);
    ids.emplace_back(*id);
  }
  return ids;
}

// A detection or an object.
template <class Box>
json bbox(const Box& box) {
  const double x = box.x1, y = box.y1;  // differences in double are exact
  return {x, y, box.x2 - x, box.y2 - y};
}

}  // namespace

CocoResults::CocoResults(const std::filesystem::path& file, const DetectionDataset& data)
    : data_(data), image_ids_(image_ids(data)), file_(file) {
  file_.write("[");
}

void CocoResults::add(std::int64_t image, const std::vector<detection::Detection>& found) {
  for (const auto& detection : found) {
    const json one = {{"image_id", image_ids_.at(static_cast<std::size_t>(image))},
                      {"category_id", data_.category_id(detection.label)},
                      {"bbox", bbox(detection)},
                      {"score", detection.score}};
    file_.write((is_first_ ? "\n" : ",\n") + one.dump());
    is_first_ = false;
  }
}

void CocoResults::finish() {
  file_.write("\n]\n");
  file_.commit();
}

json coco_ground_truth(const DetectionDataset& data) {
  auto images = json::array(), annotations = json::array(), categories = json::array();
  const auto ids = image_ids(data);
  for (std::int64_t i = 0; i < data.size(); ++i) {
    const auto& id = ids[static_cast<std::size_t>(i)];
    const auto size = data.image_size(i);
    images.push_back({{"id", id},
                      {"file_name", std::filesystem::path(data.describe(i)).filename().string()},
                      {"width", size.width},
                      {"height", size.height}});
    for (const auto& object : data.objects(i)) {
      const auto box = bbox(object);
      annotations.push_back({{"id", annotations.size() + 1},  // pycocotools takes 0 for no match
                             {"image_id", id},
                             {"category_id", data.category_id(object.label)},
                             {"bbox", box},
                             {"area", box[2].get<double>() * box[3].get<double>()},
                             {"iscrowd", 0}});
    }
  }
  for (std::int64_t label = 0; label < data.classes(); ++label)
    categories.push_back(
        {{"id", data.category_id(label)}, {"name", data.class_names()[static_cast<std::size_t>(label)]}});
  return {{"images", images}, {"annotations", annotations}, {"categories", categories}};
}

}  // namespace sparsify
