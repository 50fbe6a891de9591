// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "data/parallel.hpp"
#include "detection/object_files.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/image_files.hpp"

namespace sparsify::detection {
namespace {

/// What is known of one file: no stamp where it is missing, a problem where it is broken.
struct Look {
  std::optional<FileStamp> stamp{};
  ImageHeader header{};
  bool is_new = false;
  std::string problem{};
};

Look look_at(const std::filesystem::path& image, const ImageIndex& index) {
  Look look;
  look.stamp = stamp_of(image);
  if (!look.stamp) return look;
  try {
    const auto known = index.find(image, *look.stamp);
    look.is_new = !known;
    look.header = known ? *known : read_image_header(image);
  } catch (const Error& error) {
    look.problem = error.what();
  }
  return look;
}

void tell_strange(const std::filesystem::path& image, const ImageHeader& header, LabelReport& report) {
  const auto extension = trainers::lower_extension(image);
  const bool is_called_jpeg = extension == ".jpg" || extension == ".jpeg";
  const bool is_called_png = extension == ".png";
  if (header.format == ImageFormat::kPng && !is_called_png)
    report.findings.push_back(
        {image.string(), "a PNG, though its name ends in " + extension + ": read as PNG"});
  if (header.format == ImageFormat::kJpeg && !is_called_jpeg)
    report.findings.push_back(
        {image.string(), "a JPEG, though its name ends in " + extension + ": read as JPEG"});
  if (header.orientation != 1)
    report.findings.push_back(
        {image.string(), "EXIF orientation " + std::to_string(header.orientation) + ": turned upright"});
}

// One finding for all: grey images are common, and nothing is wrong with a few.
void tell_grey(const std::vector<const std::filesystem::path*>& images, LabelReport& report) {
  if (images.empty()) return;
  const auto more = images.size() - 1;
  report.findings.push_back(
      {images.front()->string(), "grey" + (more ? ", and " + std::to_string(more) + " more" : std::string()) +
                                     ": read with three equal channels"});
}

}  // namespace

void read_sizes(std::vector<ObjectFile>& files, ImageReading& reading, LabelReport& report) {
  std::vector<Look> looks(files.size());
  trainers::for_each_index(static_cast<std::int64_t>(files.size()), reading.threads, [&](std::int64_t i) {
    const auto position = static_cast<std::size_t>(i);
    looks[position] = look_at(files[position].image, reading.index);
  });
  std::vector<const std::filesystem::path*> grey;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& [stamp, header, is_new, problem] = looks[i];
    auto& file = files[i];
    if (!stamp) {
      report.findings.push_back({file.image.string(), "there is no such image: left out"});
    } else if (!problem.empty()) {
      report.errors.push_back(problem);
    } else {
      file.size = header.size;
      file.orientation = header.orientation;
      if (is_new) reading.index.add(file.image, *stamp, header);
      tell_strange(file.image, header, report);
      if (header.grey) grey.push_back(&file.image);
    }
  }
  tell_grey(grey, report);
}

}  // namespace sparsify::detection
