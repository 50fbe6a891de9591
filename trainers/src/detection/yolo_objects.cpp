// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <fstream>
#include <set>

#include "detection/label_lines.hpp"
#include "detection/object_files.hpp"
#include "detection/yaml_value.hpp"
#include "sparsify/detection/labels.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/image_files.hpp"
#include "weights/read_whole.hpp"

namespace sparsify::detection {
namespace {

namespace fs = std::filesystem;

// images/a/b.jpg -> labels/a/b.txt, by the last folder called "images".
fs::path label_file_of(const fs::path& image) {
  std::vector<fs::path> parts(image.begin(), image.end());
  const auto last = std::find(parts.rbegin(), parts.rend(), fs::path("images"));
  if (last != parts.rend()) *last = "labels";
  fs::path label;
  for (const auto& part : parts) label /= part;
  return label.replace_extension(".txt");
}

void read_labels(ObjectFile& file, std::int64_t classes, LabelReport& report) {
  const auto lines =
      read_label_lines(label_file_of(file.image), classes, static_cast<double>(file.size.width),
                       static_cast<double>(file.size.height), report.errors);
  std::vector<GroundTruth> objects;
  objects.reserve(lines.size());
  for (const auto& line : lines) objects.push_back(line.object);
  file.objects = cleaned(objects, file.size, [&](std::size_t i) { return lines[i].place; }, report);
}

// images/train/a.jpg -> labels, which all parts share; where nothing is called "images", the image's folder.
fs::path folder_of_labels(const fs::path& image) {
  auto folder = label_file_of(image).parent_path();
  for (auto upper = folder; upper.has_filename(); upper = upper.parent_path())
    if (upper.filename() == "labels") return upper;
  return folder;
}

// Label files that no image belongs to.
void look_for_orphans(ReadObjects& set) {
  std::set<fs::path> known, folders, orphans;
  for (const auto* part : {&set.train, &set.val})
    for (const auto& file : part->files) {
      const auto labels = label_file_of(file.image).lexically_normal();
      known.insert(labels), folders.insert(labels.parent_path());
    }
  std::error_code ignored;
  for (const auto& folder : folders)
    for (const auto& entry : fs::directory_iterator(folder, ignored))
      if (entry.path().extension() == ".txt" && !known.count(entry.path()) &&
          entry.path().filename() != "classes.txt")
        orphans.insert(entry.path());
  for (const auto& orphan : orphans)
    set.report.findings.push_back({orphan.string(), "labels without an image"});
}

ObjectSplit read_split(const std::vector<fs::path>& images, std::int64_t classes, ImageReading& reading,
                       LabelReport& report) {
  ObjectSplit split;
  for (const auto& image : images) split.files.push_back({image});
  if (!images.empty()) reading.index.keep_in(folder_of_labels(images.front()));
  read_sizes(split.files, reading, report);
  std::size_t without = 0;
  for (auto& file : split.files) {
    if (file.size.width == 0) continue;
    read_labels(file, classes, report);
    without += file.objects.empty();
  }
  if (without > 0 && !split.files.empty())
    report.findings.push_back({split.files.front().image.parent_path().string(),
                               std::to_string(without) + " images without objects"});
  return split;
}

std::vector<fs::path> images_of_list(const fs::path& list) {
  std::ifstream stream(list);
  if (!stream) throw Error(list.string() + ": cannot be read");
  std::vector<fs::path> images;
  for (std::string line; std::getline(stream, line);) {
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
    if (!line.empty()) images.push_back((list.parent_path() / line).lexically_normal());
  }
  return images;
}

// As Ultralytics does, for the files that Roboflow writes: "../train" may mean "train".
fs::path found_at(const std::string& name, const fs::path& root) {
  const auto path = root / name;
  if (!fs::exists(path) && name.starts_with("../") && fs::exists(root / name.substr(3)))
    return root / name.substr(3);
  return path;
}

std::vector<fs::path> images_at(const YamlValue& value, const fs::path& root) {
  const auto path = found_at(value.text(), root);
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return trainers::image_files_in(path);
  if (path.extension() != ".txt" || !fs::exists(path, ignored))
    value.fail("expected a folder of images or a .txt file that lists them; there is neither at " +
               path.string());
  return images_of_list(path);
}

std::vector<fs::path> all_images_at(const YamlValue& value, const fs::path& root) {
  if (!value.is_list()) return images_at(value, root);
  std::vector<fs::path> images;
  for (const auto& item : value.items())
    for (const auto& image : images_at(item, root)) images.push_back(image);
  return images;
}

// A list, or a mapping from 0, 1, 2 ...
std::vector<std::string> names_in(const YamlValue& value) {
  std::vector<std::string> names;
  if (value.is_list()) {
    for (const auto& item : value.items()) names.push_back(item.text());
    return names;
  }
  for (const auto& [key, name] : value.entries()) {
    if (key != std::to_string(names.size()))
      name.fail("class numbers are 0, 1, 2 ... in order; got " + key + ", expected " +
                std::to_string(names.size()));
    names.push_back(name.text());
  }
  return names;
}

std::vector<fs::path> parts_called(const fs::path& folder, const std::string& name) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && entry.path().filename().string().rfind(name, 0) == 0)
      for (const auto& image : trainers::image_files_in(entry.path())) found.push_back(image);
  std::sort(found.begin(), found.end());
  return found;
}

fs::path names_file_in(const fs::path& folder) {
  std::set<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename();
    if (name.extension() == ".names" || name == "names.txt" || name == "classes.txt")
      found.insert(entry.path());
  }
  if (found.empty())
    throw Error(folder.string() +
                ": says no names of classes; expected a data.yaml, a .names file or classes.txt");
  return *found.begin();
}

}  // namespace

ReadObjects read_yolo_yaml(const fs::path& file, ImageReading& reading) {
  const auto root = YamlValue::parse(weights::read_whole(file), file.string());
  ReadObjects set;
  auto folder = file.parent_path();
  std::vector<std::pair<std::string, YamlValue>> parts;
  std::int64_t classes = -1;
  for (const auto& [key, value] : root.entries()) {
    if (key == "path") folder /= value.text();
    if (key == "names") set.class_names = names_in(value);
    if (key == "nc") classes = value.integer(1, 1 << 16);
    if (key == "train" || key == "val") parts.emplace_back(key, value);
  }
  if (set.class_names.empty()) root.fail("there is no 'names'");
  if (classes >= 0 && classes != static_cast<std::int64_t>(set.class_names.size()))
    root.fail("nc is " + std::to_string(classes) + ", but there are " +
              std::to_string(set.class_names.size()) + " names");
  if (parts.size() < 2) root.fail("expected both 'train' and 'val'");
  for (const auto& [key, value] : parts) {
    auto& split = key == "train" ? set.train : set.val;
    split = read_split(all_images_at(value, folder), static_cast<std::int64_t>(set.class_names.size()),
                       reading, set.report);
  }
  look_for_orphans(set);
  return set;
}

ReadObjects read_yolo_folder(const fs::path& folder, ImageReading& reading) {
  ReadObjects set;
  set.class_names = read_names(names_file_in(folder));
  const auto classes = static_cast<std::int64_t>(set.class_names.size());
  set.train = read_split(parts_called(folder / "images", "train"), classes, reading, set.report);
  set.val = read_split(parts_called(folder / "images", "val"), classes, reading, set.report);
  look_for_orphans(set);
  return set;
}

}  // namespace sparsify::detection
