// SPDX-License-Identifier: Apache-2.0
// Data sets that the detection tests write for themselves.
// Include this before Catch: LibTorch has a macro CHECK, too, and the last one counts.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "sparsify/detection/dataset.hpp"
#include "sparsify/detection/draw.hpp"
#include "trainers/data_files.hpp"

namespace detection_test {

namespace fs = std::filesystem;
using data_test::message_of;
using data_test::Scratch;
using Texts = std::vector<std::string>;

/// A plain image; as PNG or JPEG by its name.
inline void write_plain_image(const Scratch& scratch, const std::string& name, std::int64_t height,
                              std::int64_t width) {
  const fs::path path = scratch.path(name);
  fs::create_directories(path.parent_path());
  const std::vector<std::uint8_t> rgb(static_cast<std::size_t>(height * width * 3), 90);
  sparsify::detection::write_image(sparsify::trainers::Image(height, width, rgb), path);
}

/// What is said about a set, "" when it can be opened.
inline std::string refusal(const std::string& spec) {
  const auto message = message_of([&] { sparsify::detection::open_detection_datasets(spec); });
  return message == "no error" ? "" : message;
}

/// "where: what" each.
inline std::vector<std::string> findings_of(const sparsify::detection::DetectionDatasets& data) {
  std::vector<std::string> texts;
  for (const auto& finding : data.findings) texts.push_back(finding.where + ": " + finding.what);
  return texts;
}

/// Objects of each class.
inline std::vector<std::int64_t> objects_per_class(const sparsify::detection::DetectionDataset& images) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(images.classes()));
  for (std::int64_t i = 0; i < images.size(); ++i)
    for (const auto& object : images.objects(i)) ++counts.at(static_cast<std::size_t>(object.label));
  return counts;
}

inline bool is_box(const sparsify::detection::GroundTruth& box, std::int64_t label, float x1, float y1,
                   float x2, float y2) {
  const auto near = [](float a, float b) { return a - b < 1e-3F && b - a < 1e-3F; };
  return box.label == label && near(box.x1, x1) && near(box.y1, y1) && near(box.x2, x2) && near(box.y2, y2);
}

}  // namespace detection_test
