// SPDX-License-Identifier: Apache-2.0
#include <set>
#include <sstream>

#include "detection/object_files.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> split_at(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool is_voc(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path / "JPEGImages", ignored);
}

ReadObjects read(const fs::path& path, const std::vector<std::string>& val, ImageReading& reading) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) throw Error(path.string() + ": no such file or folder");
  const auto extension = path.extension();
  if (extension == ".yaml" || extension == ".yml") return read_yolo_yaml(path, reading);
  if (is_voc(path)) return read_voc_folder(path, val, reading);
  if (fs::exists(path / "data.yaml", ignored)) return read_yolo_yaml(path / "data.yaml", reading);
  if (fs::is_directory(path / "annotations", ignored)) return read_coco_folder(path, reading);
  if (fs::is_directory(path / "images", ignored)) return read_yolo_folder(path, reading);
  throw Error(
      path.string() +
      ": no images with objects; expected an Ultralytics data.yaml, or a folder with images/ and labels/, "
      "with annotations/instances_train*.json and instances_val*.json (COCO), or with JPEGImages/, "
      "Annotations/ and ImageSets/ (Pascal VOC)");
}

// A part that serves for training and validation is read twice: what is said of it is said once.
template <class Item>
void leave_out_repeated(std::vector<Item>& items) {
  std::vector<Item> kept;
  std::set<Item> seen;
  for (auto& item : items)
    if (seen.insert(item).second) kept.push_back(std::move(item));
  items = std::move(kept);
}

// Those without a size: what is wrong with them has been reported.
void leave_out_missing(ObjectSplit& split) {
  std::erase_if(split.files, [](const ObjectFile& file) { return file.size.width == 0; });
}

std::string why_empty(const std::string& part, const ObjectSplit& split, std::size_t listed) {
  return "there is no " + part + " image in " + split.source +
         (listed ? ": none of the " + std::to_string(listed) + " that are listed exists" : "") +
         "; expected " + split.layout;
}

}  // namespace

DetectionDatasets open_detection_datasets(const std::string& spec, const DetectionDataOptions& options) {
  const auto option = spec.rfind(":val=");
  const auto path = spec.substr(0, option);
  const auto val =
      option == std::string::npos ? std::vector<std::string>{"val"} : split_at(spec.substr(option + 5), '+');
  if (option != std::string::npos && !is_voc(path) && fs::exists(path))
    throw Error(spec + ": ':val=' chooses among the splits of a Pascal VOC folder only");
  ImageReading reading{ImageIndex(options.cache), options.threads};
  auto set = read(path, val, reading);
  reading.index.save();
  const bool is_sound = set.report.errors.empty();
  for (const auto& [name, split] : {std::pair{"training", &set.train}, std::pair{"validation", &set.val}}) {
    const auto listed = split->files.size();
    leave_out_missing(*split);
    if (is_sound && split->files.empty()) set.report.errors.push_back(why_empty(name, *split, listed));
  }
  if (set.report.errors.empty() && set.class_names.empty())
    set.report.errors.push_back("there are no classes of objects");
  leave_out_repeated(set.report.errors);
  leave_out_repeated(set.report.findings);
  set.report.raise(path);
  DetectionDatasets opened;
  opened.name = spec;
  opened.findings = std::move(set.report.findings);
  opened.found_objects = std::move(set.found_objects);
  opened.train = make_dataset(set.class_names, std::move(set.train));
  opened.val = make_dataset(set.class_names, std::move(set.val));
  return opened;
}

}  // namespace sparsify::detection
