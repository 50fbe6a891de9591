// SPDX-License-Identifier: Apache-2.0
// Images with rectangles of known colours, and how they are found again.
// Include this before Catch: LibTorch has a macro CHECK, too, and the last one counts.
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "sparsify/detection/dataset.hpp"
#include "sparsify/trainers/data_error.hpp"

namespace detection_test {

using sparsify::detection::DetectionDataset;
using sparsify::detection::GroundTruth;
using sparsify::detection::ImageSize;

using Rgb = std::array<std::uint8_t, 3>;
/// The colour of a class: far from each other's and from grey.
inline constexpr std::array<Rgb, 5> kColours = {
    {{250, 10, 10}, {10, 250, 10}, {10, 10, 250}, {250, 250, 10}, {250, 10, 250}}};

/// A grey image in which each object fills its box with the colour of its class.
struct Picture {
  ImageSize size;
  std::vector<GroundTruth> objects;
};

/// Pictures in memory. `reduced_by` and `broken` are as files can be: read at a part of their size, or not.
class Pictures : public DetectionDataset {
 public:
  explicit Pictures(std::vector<Picture> pictures)
      : DetectionDataset({"red", "green", "blue", "yellow", "pink"}), pictures_(std::move(pictures)) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(pictures_.size()); }
  ImageSize image_size(std::int64_t index) const override { return at(index).size; }
  sparsify::trainers::Image image(std::int64_t index, std::int64_t = 0) const override {
    if (index == broken) throw sparsify::trainers::DataError(describe(index) + ": broken");
    const auto height = at(index).size.height / reduced_by, width = at(index).size.width / reduced_by;
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(height * width * 3), 114);
    for (const auto& object : at(index).objects)
      for (auto y = static_cast<std::int64_t>(object.y1) / reduced_by; y < object.y2 / reduced_by; ++y)
        for (auto x = static_cast<std::int64_t>(object.x1) / reduced_by; x < object.x2 / reduced_by; ++x)
          std::copy_n(kColours.at(static_cast<std::size_t>(object.label)).begin(), 3,
                      rgb.begin() + (y * width + x) * 3);
    return {height, width, std::move(rgb)};
  }
  const std::vector<GroundTruth>& objects(std::int64_t index) const override { return at(index).objects; }
  std::string describe(std::int64_t index) const override { return "picture " + std::to_string(index); }

  std::int64_t reduced_by = 1, broken = -1;

 private:
  const Picture& at(std::int64_t index) const { return pictures_.at(static_cast<std::size_t>(index)); }

  std::vector<Picture> pictures_;
};

/// The box around the pixels that are nearer to the colour of a class than to grey. `pixel(y, x, channel)`
/// is from 0 to 255.
template <class Pixel>
std::optional<GroundTruth> seen(std::int64_t label, std::int64_t height, std::int64_t width,
                                const Pixel& pixel) {
  const auto& colour = kColours.at(static_cast<std::size_t>(label));
  std::optional<GroundTruth> box;
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      const auto is_near = [&](std::size_t c) {
        return std::abs(static_cast<double>(pixel(y, x, static_cast<std::int64_t>(c))) - colour[c]) <
               std::abs(colour[c] - 114) / 2.0;
      };
      if (!is_near(0) || !is_near(1) || !is_near(2)) continue;
      const auto left = static_cast<float>(x), top = static_cast<float>(y);
      if (!box) box = GroundTruth{left, top, left + 1, top + 1, label};
      box->x1 = std::min(box->x1, left), box->x2 = std::max(box->x2, left + 1);
      box->y1 = std::min(box->y1, top), box->y2 = std::max(box->y2, top + 1);
    }
  return box;
}

/// The largest distance between sides of two boxes.
inline double apart(const GroundTruth& a, const GroundTruth& b) {
  return std::max(
      {std::abs(a.x1 - b.x1), std::abs(a.y1 - b.y1), std::abs(a.x2 - b.x2), std::abs(a.y2 - b.y2)});
}

}  // namespace detection_test
