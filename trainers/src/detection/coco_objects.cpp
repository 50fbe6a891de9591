// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "detection/object_files.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json parse(const fs::path& file) {
  std::ifstream stream(file);
  if (!stream) throw Error(file.string() + ": cannot be read");
  try {
    auto parsed = json::parse(stream);
    for (const char* key : {"images", "annotations", "categories"})
      if (!parsed.is_object() || !parsed.contains(key) || !parsed[key].is_array())
        throw Error(file.string() + ": has no list '" + key + "'; expected COCO's instances");
    return parsed;
  } catch (const json::exception& error) {
    throw Error(file.string() + ": not valid JSON: " + error.what());
  }
}

// COCO numbers its 80 categories from 1 to 90: ours are their ranks.
std::map<std::int64_t, std::string> categories(const json& instances) {
  std::map<std::int64_t, std::string> names;
  for (const auto& category : instances["categories"])
    names[category.at("id").get<std::int64_t>()] = category.at("name").get<std::string>();
  return names;
}

fs::path instances_file(const fs::path& folder, const std::string& split) {
  std::set<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder / "annotations"))
    if (entry.path().filename().string().rfind("instances_" + split, 0) == 0 &&
        entry.path().extension() == ".json")
      found.insert(entry.path());
  if (found.empty()) throw Error(folder.string() + ": has no annotations/instances_" + split + "*.json");
  return *found.begin();
}

// annotations/instances_val2017.json -> val2017 or images/val2017.
fs::path images_folder(const fs::path& folder, const fs::path& instances) {
  const auto name = instances.stem().string().substr(std::string("instances_").size());
  for (const auto& candidate : {folder / name, folder / "images" / name})
    if (fs::is_directory(candidate)) return candidate;
  throw Error(folder.string() + ": has no folder " + name + " or images/" + name + " for " +
              instances.string());
}

ObjectSplit read_split(const fs::path& folder, const std::string& name, std::vector<std::string>& class_names,
                       ImageReading& reading, LabelReport& report) {
  const auto file = instances_file(folder, name);
  const auto images = images_folder(folder, file);
  const auto instances = parse(file);
  ObjectSplit split;
  try {
    std::map<std::int64_t, std::int64_t> rank;
    std::vector<std::string> names;
    for (const auto& [id, category] : categories(instances)) {
      rank[id] = static_cast<std::int64_t>(names.size());
      split.category_ids.push_back(id);
      names.push_back(category);
    }
    if (!class_names.empty() && class_names != names)
      throw Error(file.string() + ": its categories are not those of the training part");
    class_names = names;
    std::map<std::int64_t, std::size_t> position;
    for (const auto& image : instances["images"]) {
      const auto id = image.at("id").get<std::int64_t>();
      position[id] = split.files.size();
      split.files.push_back({.image = images / image.at("file_name").get<std::string>(), .id = id});
    }
    read_sizes(split.files, reading, report);
    std::int64_t number = 0;
    for (const auto& annotation : instances["annotations"]) {
      const auto where = file.string() + ": annotation " + std::to_string(number++);
      if (annotation.value("iscrowd", 0) != 0) continue;
      const auto image = position.find(annotation.at("image_id").get<std::int64_t>());
      const auto category = rank.find(annotation.at("category_id").get<std::int64_t>());
      if (image == position.end() || category == rank.end()) {
        report.errors.push_back(where + " names an image or a category that is not listed");
        continue;
      }
      const auto box = annotation.at("bbox").get<std::vector<float>>();
      if (box.size() != 4) throw Error(where + ": bbox: expected x, y, width and height");
      split.files[image->second].objects.push_back(
          {box[0], box[1], box[0] + box[2], box[1] + box[3], category->second});
    }
  } catch (const json::exception& error) {
    throw Error(file.string() + ": " + error.what());
  }
  for (auto& each : split.files)
    if (each.size.width > 0)
      each.objects =
          cleaned(each.objects, each.size, [&](std::size_t) { return each.image.string(); }, report);
  return split;
}

}  // namespace

ReadObjects read_coco_folder(const fs::path& folder, ImageReading& reading) {
  ReadObjects set;
  reading.index.keep_in(folder / "annotations");
  set.train = read_split(folder, "train", set.class_names, reading, set.report);
  set.val = read_split(folder, "val", set.class_names, reading, set.report);
  return set;
}

}  // namespace sparsify::detection
