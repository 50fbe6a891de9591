// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "detection/coco_entry.hpp"
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
    const std::string what = error.what();  // "[json.exception.parse_error.101] parse error at line 1 ..."
    throw Error(file.string() + ": not valid JSON: " + what.substr(what.find("] ") + 2));
  }
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

/// One instances file, as it is read.
struct CocoPart {
  std::string file;
  json instances;
  LabelReport& report;
  ObjectSplit split{};
  std::vector<std::string> class_names{};
  std::map<std::int64_t, std::int64_t> rank{};          ///< label by category
  std::map<std::int64_t, std::size_t> position{};       ///< of an image by its id
  std::vector<ImageSize> claimed{};                     ///< by position; 0 x 0 where nothing is claimed
  std::vector<std::vector<std::size_t>> annotations{};  ///< by position: which objects were read
};

CocoEntry entry_of(const CocoPart& part, const char* list, std::size_t index) {
  return {part.file, list, index, part.instances[list][index]};
}

/// Reads each entry; what cannot be read becomes an error.
template <class Read>
void for_each_entry(CocoPart& part, const char* list, Read&& read) {
  for (std::size_t i = 0; i < part.instances[list].size(); ++i) {
    try {
      read(entry_of(part, list, i), i);
    } catch (const Error& error) {
      part.report.errors.push_back(error.what());
    }
  }
}

// COCO numbers its 80 categories from 1 to 90: ours are their ranks.
void read_categories(CocoPart& part) {
  std::map<std::int64_t, std::pair<std::string, std::string>> names;  // by id: name, and which entry gives it
  for_each_entry(part, "categories", [&](const CocoEntry& entry, std::size_t) {
    const auto [first, is_new] = names.try_emplace(entry.integer("id"), entry.text("name"), entry.name());
    if (!is_new) entry.fail("expected an id of its own, " + first->second.second + " has the same");
  });
  for (const auto& [id, name] : names) {
    part.rank[id] = static_cast<std::int64_t>(part.class_names.size());
    part.split.category_ids.push_back(id);
    part.class_names.push_back(name.first);
  }
}

void read_images(CocoPart& part, const fs::path& folder) {
  for_each_entry(part, "images", [&](const CocoEntry& entry, std::size_t) {
    const auto id = entry.integer("id");
    const auto name = entry.text("file_name");
    const auto [first, is_new] = part.position.try_emplace(id, part.split.files.size());
    if (!is_new)
      entry.fail("expected an id of its own, " + part.split.files[first->second].image.string() +
                 " has the same");
    part.split.files.push_back({.image = folder / name, .id = id});
    // Only checked, never used: what is no number claims nothing.
    part.claimed.push_back(
        {entry.whole_number("height").value_or(0), entry.whole_number("width").value_or(0)});
  });
}

void check_claimed_sizes(CocoPart& part) {
  for (std::size_t i = 0; i < part.claimed.size(); ++i) {
    const auto& [image, size, orientation, objects, id] = part.split.files[i];
    const auto& claimed = part.claimed[i];
    if (size.width > 0 && claimed.width > 0 && claimed.height > 0)
      check_claimed_size(part.file + ": image " + std::to_string(*id) + ", " + image.filename().string(),
                         claimed, size, part.report);
  }
}

void read_annotations_of(CocoPart& part) {
  part.annotations.resize(part.split.files.size());
  for_each_entry(part, "annotations", [&](const CocoEntry& entry, std::size_t index) {
    if (entry.is_crowd()) return;
    const auto image_id = entry.integer("image_id"), category_id = entry.integer("category_id");
    const auto image = part.position.find(image_id);
    const auto category = part.rank.find(category_id);
    if (image == part.position.end())
      entry.fail("image_id: expected the id of an entry of 'images', got " + std::to_string(image_id));
    if (category == part.rank.end())
      entry.fail("category_id: expected the id of an entry of 'categories', got " +
                 std::to_string(category_id));
    const auto box = entry.box();
    part.split.files[image->second].objects.push_back(
        {box[0], box[1], box[0] + box[2], box[1] + box[3], category->second});
    part.annotations[image->second].push_back(index);
  });
}

void clean_objects(CocoPart& part) {
  for (std::size_t i = 0; i < part.split.files.size(); ++i) {
    auto& file = part.split.files[i];
    if (file.size.width == 0) continue;
    const auto where = [&](std::size_t object) {
      return part.file + ": " + entry_of(part, "annotations", part.annotations[i][object]).name() + ", in " +
             file.image.filename().string();
    };
    file.objects = cleaned(file.objects, file.size, where, part.report);
  }
}

ObjectSplit read_split(const fs::path& folder, const std::string& name, std::vector<std::string>& class_names,
                       ImageReading& reading, LabelReport& report) {
  const auto file = instances_file(folder, name);
  const auto images = images_folder(folder, file);
  CocoPart part{file.string(), parse(file), report};
  part.split.source = file.string();
  part.split.layout = "entries of 'images' whose files lie in " + images.string();
  const auto errors_before = report.errors.size();
  read_categories(part);
  read_images(part, images);
  if (report.errors.size() > errors_before) return part.split;  // what refers to those would only repeat it
  if (!class_names.empty() && class_names != part.class_names)
    throw Error(part.file + ": its categories are not those of the training part");
  class_names = part.class_names;
  read_sizes(part.split.files, reading, report);
  check_claimed_sizes(part);
  read_annotations_of(part);
  clean_objects(part);
  return std::move(part.split);
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
