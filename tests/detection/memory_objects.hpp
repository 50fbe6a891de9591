// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sparsify/detection/dataset.hpp"
#include "sparsify/trainers/data_error.hpp"

namespace detection_test {

/// What each label's rectangle is filled with; half of any of them is told from black and from grey.
inline constexpr std::array<std::array<std::uint8_t, 3>, 4> kColours{
    {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}}};

/// Black images, each with filled rectangles at its objects.
class MemoryObjects : public sparsify::detection::DetectionDataset {
 public:
  using GroundTruth = sparsify::detection::GroundTruth;

  MemoryObjects() : DetectionDataset({"red", "green", "blue", "yellow"}) {}

  /// Corners of the objects have to be whole numbers.
  void add(std::int64_t height, std::int64_t width, std::vector<GroundTruth> objects) {
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(height * width * 3), 0);
    for (const auto& object : objects)
      for (auto y = static_cast<std::int64_t>(object.y1); y < static_cast<std::int64_t>(object.y2); ++y)
        for (auto x = static_cast<std::int64_t>(object.x1); x < static_cast<std::int64_t>(object.x2); ++x)
          for (std::size_t c = 0; c < 3; ++c)
            rgb[static_cast<std::size_t>((y * width + x) * 3) + c] =
                kColours[static_cast<std::size_t>(object.label)][c];
    entries_.push_back({{height, width}, std::move(rgb), std::move(objects), false});
  }
  void make_unreadable(std::int64_t index) { entries_[static_cast<std::size_t>(index)].unreadable = true; }

  std::int64_t size() const override { return static_cast<std::int64_t>(entries_.size()); }
  sparsify::detection::ImageSize image_size(std::int64_t index) const override { return at(index).size; }
  sparsify::trainers::Image image(std::int64_t index, std::int64_t /*at_least*/) const override {
    if (at(index).unreadable) throw sparsify::trainers::DataError(describe(index) + ": cannot be read");
    return sparsify::trainers::Image::view(at(index).size.height, at(index).size.width, at(index).rgb.data());
  }
  const std::vector<GroundTruth>& objects(std::int64_t index) const override { return at(index).objects; }
  std::string describe(std::int64_t index) const override { return "image " + std::to_string(index); }

 private:
  struct Entry {
    sparsify::detection::ImageSize size;
    std::vector<std::uint8_t> rgb;
    std::vector<GroundTruth> objects;
    bool unreadable;
  };
  const Entry& at(std::int64_t index) const { return entries_.at(static_cast<std::size_t>(index)); }
  std::vector<Entry> entries_;
};

/// Images that are read at a part of their size, as JPEGs may be.
class ReducedObjects : public MemoryObjects {
 public:
  explicit ReducedObjects(std::int64_t divisor) : divisor_(divisor) {}

  /// The first pixel of each square, the last squares cut off by the edges.
  sparsify::trainers::Image image(std::int64_t index, std::int64_t at_least) const override {
    const auto whole = MemoryObjects::image(index, at_least);
    const auto height = (whole.height() + divisor_ - 1) / divisor_,
               width = (whole.width() + divisor_ - 1) / divisor_;
    std::vector<std::uint8_t> rgb;
    rgb.reserve(static_cast<std::size_t>(height * width * 3));
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x)
        for (int c = 0; c < 3; ++c) rgb.push_back(whole.pixel(y * divisor_, x * divisor_)[c]);
    return {height, width, std::move(rgb)};
  }

 private:
  std::int64_t divisor_;
};

/// The box around the pixels that are nearer to the label's colour than half; empty (x2 < x1) without any.
/// `value(y, x, c)`: from 0 to 255.
template <class Value>
sparsify::detection::GroundTruth drawn_box(std::int64_t height, std::int64_t width, std::int64_t label,
                                           const Value& value) {
  sparsify::detection::GroundTruth box{1e6F, 1e6F, -1, -1, label};
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      bool same = true;
      for (std::size_t c = 0; c < 3; ++c) {
        const double wanted = kColours[static_cast<std::size_t>(label)][c];
        const double apart = static_cast<double>(value(y, x, static_cast<std::int64_t>(c))) - wanted;
        same = same && apart < 128 && apart > -128;
      }
      if (!same) continue;
      box.x1 = std::min(box.x1, static_cast<float>(x)), box.x2 = std::max(box.x2, static_cast<float>(x + 1));
      box.y1 = std::min(box.y1, static_cast<float>(y)), box.y2 = std::max(box.y2, static_cast<float>(y + 1));
    }
  return box;
}

/// The largest distance between sides of the same name.
inline float apart(const sparsify::detection::GroundTruth& a, const sparsify::detection::GroundTruth& b) {
  float most = 0;
  for (const float distance : {a.x1 - b.x1, a.y1 - b.y1, a.x2 - b.x2, a.y2 - b.y2})
    most = std::max(most, distance < 0 ? -distance : distance);
  return most;
}

}  // namespace detection_test
