// SPDX-License-Identifier: Apache-2.0
#include "detection/image_index.hpp"

#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "sparsify/error.hpp"
#include "sparsify/trainers/atomic_file.hpp"

namespace sparsify::detection {
namespace {

namespace fs = std::filesystem;

const std::string kFirstLine = "sparsify image index 2";
const std::string kFileName = "sparsify.index";

std::string key_of(const fs::path& image) { return fs::absolute(image).lexically_normal().string(); }

bool is_sound(const ImageHeader& header, int format) {
  return header.size.height > 0 && header.size.width > 0 && header.orientation >= 1 &&
         header.orientation <= 8 && format >= 0 && format <= static_cast<int>(ImageFormat::kOther);
}

}  // namespace

std::optional<FileStamp> stamp_of(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return {};
  const auto bytes = fs::file_size(file, error);
  if (error) return {};
  const auto modified = fs::last_write_time(file, error);
  if (error) return {};
  return FileStamp{bytes, static_cast<std::int64_t>(modified.time_since_epoch().count())};
}

ImageIndex::ImageIndex(const fs::path& place) {
  if (place.empty()) return;
  std::error_code ignored;
  file_ = fs::is_directory(place, ignored) ? place / kFileName : place;
  load();
}

void ImageIndex::keep_in(const fs::path& folder) {
  if (!file_.empty()) return;
  file_ = folder / kFileName;
  load();
}

// A line that is cut off or foreign is passed over: its image is read again.
void ImageIndex::load() {
  std::ifstream stream(file_);
  std::string line;
  if (!std::getline(stream, line) || line != kFirstLine) return;
  while (std::getline(stream, line)) {
    std::istringstream fields(line);
    Entry entry;
    int format = -1;
    auto& [stamp, header] = entry;
    fields >> header.size.height >> header.size.width >> header.orientation >> format >> header.grey >>
        stamp.bytes >> stamp.modified;
    std::string image;
    if (fields.get() != ' ' || !std::getline(fields, image) || !is_sound(header, format)) continue;
    header.format = static_cast<ImageFormat>(format);
    entries_[image] = entry;
  }
}

std::optional<ImageHeader> ImageIndex::find(const fs::path& image, const FileStamp& stamp) const {
  const auto found = entries_.find(key_of(image));
  if (found == entries_.end() || !(found->second.stamp == stamp)) return {};
  return found->second.header;
}

void ImageIndex::add(const fs::path& image, const FileStamp& stamp, const ImageHeader& header) {
  entries_[key_of(image)] = {stamp, header};
  changed_ = true;
}

void ImageIndex::save() const {
  if (!changed_ || file_.empty()) return;
  std::ostringstream text;
  text << kFirstLine << '\n';
  for (const auto& [image, entry] : entries_) {
    const auto& [stamp, header] = entry;
    if (image.find('\n') != std::string::npos || !stamp_of(image)) continue;
    text << header.size.height << ' ' << header.size.width << ' ' << header.orientation << ' '
         << static_cast<int>(header.format) << ' ' << header.grey << ' ' << stamp.bytes << ' '
         << stamp.modified << ' ' << image << '\n';
  }
  try {
    write_file_atomically(file_, text.str());
  } catch (const Error&) {  // a read-only place
  }
}

}  // namespace sparsify::detection
