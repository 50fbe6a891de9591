// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "detection/label_lines.hpp"
#include "detection/object_files.hpp"
#include "detection/yaml_value.hpp"
#include "sparsify/detection/labels.hpp"
#include "sparsify/error.hpp"
#include "sparsify/suggest.hpp"
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

/// Images of one folder.
struct ImageFolder {
  fs::path labels{};
  bool has_labels = false;  ///< whether that folder is there
  std::size_t images = 0, without_objects = 0;
};

using ImageFolders = std::map<fs::path, ImageFolder>;

// Of the images that are there.
ImageFolders folders_of(const std::vector<ObjectFile>& files) {
  ImageFolders folders;
  std::error_code ignored;
  for (const auto& file : files) {
    if (file.size.width == 0) continue;
    const auto [place, is_new] = folders.try_emplace(file.image.parent_path());
    auto& folder = place->second;
    if (is_new) {
      folder.labels = label_file_of(file.image).parent_path();
      folder.has_labels = fs::is_directory(folder.labels, ignored);
    }
    ++folder.images;
    folder.without_objects += file.objects.empty();
  }
  return folders;
}

// Labels that lie elsewhere would make a part of images without objects, which trains and finds nothing.
void require_folder_of_labels(const ImageFolders& folders, LabelReport& report) {
  const bool is_one_there =
      std::any_of(folders.begin(), folders.end(), [](const auto& entry) { return entry.second.has_labels; });
  if (folders.empty() || is_one_there) return;
  const auto& [images, first] = *folders.begin();
  report.errors.push_back(
      first.labels.string() + ": no such folder, though labels of the images in " + images.string() +
      " belong there; expected a .txt file for each image with objects, of lines 'class x y "
      "width height' (where no image has any, an empty folder)");
}

void tell_images_without_objects(const ImageFolders& folders, LabelReport& report) {
  for (const auto& [images, folder] : folders)
    if (!folder.has_labels)
      report.findings.push_back(
          {folder.labels.string(),
           "no such folder: its " + std::to_string(folder.images) + " images are taken as without objects"});
    else if (folder.without_objects > 0)
      report.findings.push_back(
          {images.string(), std::to_string(folder.without_objects) + " images without objects"});
}

/// Images of a part, and where they were looked for.
struct PartImages {
  std::vector<fs::path> images{};
  std::string source{};
  std::string layout{};
};

ObjectSplit read_split(const PartImages& listed, std::int64_t classes, ImageReading& reading,
                       LabelReport& report) {
  ObjectSplit split;
  split.source = listed.source, split.layout = listed.layout;
  for (const auto& image : listed.images) split.files.push_back({image});
  if (!listed.images.empty()) reading.index.keep_in(folder_of_labels(listed.images.front()));
  read_sizes(split.files, reading, report);
  for (auto& file : split.files)
    if (file.size.width > 0) read_labels(file, classes, report);
  const auto folders = folders_of(split.files);
  require_folder_of_labels(folders, report);
  tell_images_without_objects(folders, report);
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

void add_images_at(const YamlValue& value, const fs::path& root, PartImages& listed) {
  const auto path = found_at(value.text(), root);
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  if (!is_folder && (path.extension() != ".txt" || !fs::exists(path, ignored)))
    value.fail("expected a folder of images or a .txt file that lists them; there is neither at " +
               path.string());
  for (const auto& image : is_folder ? trainers::image_files_in(path) : images_of_list(path))
    listed.images.push_back(image);
  listed.source += (listed.source.empty() ? "" : ", ") + path.string();
}

PartImages all_images_at(const YamlValue& value, const fs::path& root) {
  PartImages listed;
  listed.layout = "JPEG, PNG or BMP files in a folder, or a .txt file that lists them, one a line";
  if (!value.is_list()) {
    add_images_at(value, root, listed);
  } else {
    for (const auto& item : value.items()) add_images_at(item, root, listed);
  }
  return listed;
}

// A list, or a mapping from 0, 1, 2 ...
std::vector<std::string> names_in(const YamlValue& value) {
  std::vector<std::string> names;
  if (value.is_list()) {
    for (const auto& item : value.items()) names.push_back(item.text());
    return names;
  }
  if (!value.is_mapping()) value.expected("a list or a mapping");
  for (const auto& [key, name] : value.entries()) {
    if (key != std::to_string(names.size()))
      name.fail("class numbers are 0, 1, 2 ... in order; got " + key + ", expected " +
                std::to_string(names.size()));
    names.push_back(name.text());
  }
  return names;
}

PartImages parts_called(const fs::path& folder, const std::string& name) {
  PartImages listed;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && entry.path().filename().string().rfind(name, 0) == 0)
      for (const auto& image : trainers::image_files_in(entry.path())) listed.images.push_back(image);
  std::sort(listed.images.begin(), listed.images.end());
  listed.source = (folder / (name + "*")).string();
  listed.layout = "folders images/train* and images/val* of JPEG, PNG or BMP files, and the same in labels/";
  return listed;
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

/// What a data.yaml says.
struct DataYaml {
  fs::path folder;
  std::vector<std::string> names{};
  std::optional<YamlValue> nc{};
  std::map<std::string, YamlValue> parts{};  ///< train and val
};

// Of a key that is needed and not there: perhaps another one is mistyped.
[[noreturn]] void fail_without(const std::string& missing, const YamlValue& root,
                               const std::string& message) {
  static const std::set<std::string> others = {"path",  "train", "val",      "test",
                                               "names", "nc",    "download", "url"};
  for (const auto& [key, value] : root.entries()) {
    if (others.count(key)) continue;
    if (const auto hint = suggestion(key, {missing}); !hint.empty()) value.fail(message + hint);
  }
  root.fail(message);
}

DataYaml parse_data_yaml(const fs::path& file) {
  const auto root = YamlValue::parse(weights::read_whole(file), file.string());
  DataYaml data{file.parent_path()};
  for (const auto& [key, value] : root.entries()) {
    if (key == "path") data.folder /= value.text();
    if (key == "names") data.names = names_in(value);
    if (key == "nc") data.nc.emplace(value);
    if (key == "train" || key == "val") data.parts.emplace(key, value);
  }
  if (data.names.empty()) fail_without("names", root, "there is no 'names'");
  const auto names = static_cast<std::int64_t>(data.names.size());
  if (data.nc && data.nc->integer(1, 1 << 16) != names)
    data.nc->fail("expected " + std::to_string(names) + ", the number of names, got " + data.nc->text());
  for (const char* part : {"train", "val"})
    if (!data.parts.count(part)) fail_without(part, root, "expected both 'train' and 'val'");
  return data;
}

}  // namespace

ReadObjects read_yolo_yaml(const fs::path& file, ImageReading& reading) {
  auto data = parse_data_yaml(file);
  ReadObjects set;
  set.class_names = std::move(data.names);
  const auto classes = static_cast<std::int64_t>(set.class_names.size());
  const auto read = [&](const char* part) {
    return read_split(all_images_at(data.parts.at(part), data.folder), classes, reading, set.report);
  };
  set.train = read("train");
  set.val = read("val");
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
