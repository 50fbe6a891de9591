// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <map>
#include <pugixml.hpp>
#include <set>
#include <sstream>

#include "detection/object_files.hpp"
#include "detection/similar_classes.hpp"
#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

namespace fs = std::filesystem;

struct NamedBox {
  std::string name;
  GroundTruth box;
  int number = 0;  ///< of the object in its file, from 1
};

struct Annotation {
  std::string id;
  fs::path file;
  ImageSize size;  ///< that it claims
  std::vector<NamedBox> objects;
};

fs::path list_of(const fs::path& folder, const std::string& split) {
  return folder / "ImageSets" / "Main" / (split + ".txt");
}

std::vector<std::string> ids_of(const fs::path& folder, const std::string& split) {
  const auto file = list_of(folder, split);
  std::ifstream stream(file);
  if (!stream) throw Error(file.string() + ": cannot be read; expected the images of split '" + split + "'");
  std::vector<std::string> ids;
  for (std::string id; stream >> id;) ids.push_back(id);
  return ids;
}

float coordinate(const pugi::xml_node& box, const char* name, const std::string& where) {
  const std::string text = box.child(name).text().as_string();
  if (text.empty()) throw Error(where + ": an object's bndbox has no " + name);
  std::istringstream stream(text);
  float value = 0;
  if (!(stream >> value) || !(stream >> std::ws).eof())
    throw Error(where + ": an object's " + name + ": expected a number, got '" + text + "'");
  return value;
}

// Spaces around a name would make a class of its own.
std::string trimmed_name(const pugi::xml_node& object) {
  const std::string name = object.child("name").text().as_string();
  const char* spaces = " \t\r\n";
  const auto first = name.find_first_not_of(spaces);
  if (first == std::string::npos) return "";
  return name.substr(first, name.find_last_not_of(spaces) + 1 - first);
}

std::string name_of(const pugi::xml_node& object, const std::string& where) {
  const auto name = trimmed_name(object);
  if (name.empty()) throw Error(where + ": an object has no name");
  return name;
}

Annotation read_annotation(const fs::path& folder, const std::string& id) {
  Annotation annotation{id, folder / "Annotations" / (id + ".xml"), {}, {}};
  const auto where = annotation.file.string();
  pugi::xml_document document;
  const auto parsed = document.load_file(annotation.file.c_str());
  if (!parsed)
    throw Error(where + ": " + parsed.description() + " at character " + std::to_string(parsed.offset));
  const auto root = document.child("annotation");
  if (!root) throw Error(where + ": has no <annotation>");
  annotation.size = {root.child("size").child("height").text().as_llong(),
                     root.child("size").child("width").text().as_llong()};
  int number = 0;
  for (const auto& object : root.children("object")) {
    ++number;
    if (object.child("difficult").text().as_int() != 0) continue;
    const auto box = object.child("bndbox");
    // Corners are numbers of pixels, counted from 1, that belong to the object.
    annotation.objects.push_back({name_of(object, where),
                                  {coordinate(box, "xmin", where) - 1, coordinate(box, "ymin", where) - 1,
                                   coordinate(box, "xmax", where), coordinate(box, "ymax", where), 0},
                                  number});
  }
  return annotation;
}

std::vector<Annotation> read_annotations(const fs::path& folder, const std::vector<std::string>& splits,
                                         LabelReport& report) {
  std::vector<Annotation> annotations;
  for (const auto& split : splits)
    for (const auto& id : ids_of(folder, split)) {
      const auto file = folder / "Annotations" / (id + ".xml");
      if (!fs::exists(file)) {
        report.findings.push_back({file.string(), "there is no such annotation: its image is left out"});
        continue;
      }
      try {
        annotations.push_back(read_annotation(folder, id));
      } catch (const Error& error) {
        report.errors.push_back(error.what());
      }
    }
  return annotations;
}

fs::path image_of(const fs::path& folder, const std::string& id) {
  for (const char* extension : {".jpg", ".jpeg", ".png", ".JPG"})
    if (const auto path = folder / "JPEGImages" / (id + extension); fs::exists(path)) return path;
  return folder / "JPEGImages" / (id + ".jpg");
}

ObjectSplit make_split(const fs::path& folder, const std::vector<Annotation>& annotations,
                       const std::map<std::string, std::int64_t>& labels, ImageReading& reading,
                       LabelReport& report, const std::vector<std::string>& names) {
  ObjectSplit split;
  for (const auto& name : names)
    split.source += (split.source.empty() ? "" : ", ") + list_of(folder, name).string();
  if (names.empty()) split.source = folder.string() + " by ':val=', which names no split";
  split.layout =
      "a name a line, with Annotations/NAME.xml and JPEGImages/NAME.jpg (or .jpeg, .png) beside ImageSets/";
  for (const auto& annotation : annotations) split.files.push_back({image_of(folder, annotation.id)});
  read_sizes(split.files, reading, report);
  for (std::size_t i = 0; i < annotations.size(); ++i) {
    auto& file = split.files[i];
    const auto& annotation = annotations[i];
    if (file.size.width == 0) continue;
    check_claimed_size(annotation.file.string(), annotation.size, file.size, report);
    for (auto [name, box, _] : annotation.objects) {
      box.label = labels.at(name);
      file.objects.push_back(box);
    }
    const auto where = [&](std::size_t object) {
      return annotation.file.string() + ": object " + std::to_string(annotation.objects[object].number);
    };
    file.objects = cleaned(file.objects, file.size, where, report);
  }
  return split;
}

// Classes with their numbers of objects, of all annotations, whatever split they are in: numbers of classes
// must not depend on what is validated. Those that `read` holds are not read again.
std::map<std::string, std::int64_t> count_objects(
    const fs::path& folder, std::initializer_list<const std::vector<Annotation>*> read) {
  std::map<std::string, std::int64_t> objects;
  std::set<fs::path> known;
  for (const auto* annotations : read)
    for (const auto& annotation : *annotations)
      if (known.insert(annotation.file).second)
        for (const auto& object : annotation.objects) ++objects[object.name];
  for (const auto& entry : fs::directory_iterator(folder / "Annotations")) {
    pugi::xml_document document;
    if (known.count(entry.path()) || entry.path().extension() != ".xml" ||
        !document.load_file(entry.path().c_str()))
      continue;
    for (const auto& object : document.child("annotation").children("object"))
      if (const auto name = trimmed_name(object);
          !name.empty() && object.child("difficult").text().as_int() == 0)
        ++objects[name];
  }
  return objects;
}

}  // namespace

ReadObjects read_voc_folder(const fs::path& folder, const std::vector<std::string>& val,
                            ImageReading& reading) {
  ReadObjects set;
  reading.index.keep_in(folder / "Annotations");
  const auto train = read_annotations(folder, {"train"}, set.report);
  const auto others = read_annotations(folder, val, set.report);
  const auto objects = count_objects(folder, {&train, &others});
  std::map<std::string, std::int64_t> labels;
  for (const auto& [name, count] : objects) {
    labels.emplace(name, static_cast<std::int64_t>(labels.size()));
    set.class_names.push_back(name);
    set.found_objects.push_back(count);
  }
  tell_similar_classes((folder / "Annotations").string(), objects, set.report);
  set.train = make_split(folder, train, labels, reading, set.report, {"train"});
  set.val = make_split(folder, others, labels, reading, set.report, val);
  return set;
}

}  // namespace sparsify::detection
