// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/draw.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ranges>

#include "detection/canvas.hpp"
#include "detection/letters.hpp"

namespace sparsify::detection {
namespace {

constexpr Colour kBlack = {0, 0, 0}, kWhite = {255, 255, 255};

struct Mark {
  Rectangle box;
  std::int64_t label = 0;
  std::string text;
};

double mean_side(const Canvas& canvas) { return static_cast<double>(canvas.height() + canvas.width()) / 2; }

std::int64_t line_width(const Canvas& canvas, const DrawOptions& options) {
  if (options.line_width > 0) return options.line_width;
  return std::max<std::int64_t>(1, std::lround(mean_side(canvas) * 0.004));
}

std::int64_t text_scale(const Canvas& canvas, const DrawOptions& options) {
  if (options.text_scale > 0) return options.text_scale;
  return std::max<std::int64_t>(1, std::lround(mean_side(canvas) / 300));
}

// Also for positions that are no numbers, or far outside.
std::int64_t pixel(float position, std::int64_t size) {
  if (!(position > 0)) return 0;
  return position < static_cast<float>(size) ? std::lround(position) : size;
}

template <class Box>
Rectangle pixels_of(const Box& box, const trainers::Image& image) {
  return {pixel(box.x1, image.width()), pixel(box.y1, image.height()), pixel(box.x2, image.width()),
          pixel(box.y2, image.height())};
}

std::string name_of(std::int64_t label, const std::vector<std::string>& names) {
  const bool known = label >= 0 && label < static_cast<std::int64_t>(names.size());
  return known ? names[static_cast<std::size_t>(label)] : std::to_string(label);
}

std::string two_digits(float score) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", static_cast<double>(score));
  return text;
}

Colour readable_on(Colour background) {
  const double brightness = 0.299 * background[0] + 0.587 * background[1] + 0.114 * background[2];
  return brightness > 140 ? kBlack : kWhite;
}

// Above the box's upper left corner where there is room, else inside it.
void draw_label(Canvas& canvas, const Mark& mark, std::int64_t scale) {
  const auto text = drawable(mark.text);
  const auto width = (width_of(text) + 3) * scale, height = (kLineHeight + 2) * scale;
  const auto top = mark.box.top >= height ? mark.box.top - height : mark.box.top;
  const auto left = std::max<std::int64_t>(0, std::min(mark.box.left, canvas.width() - width));
  const auto colour = class_colour(mark.label);
  canvas.fill({left, top, left + width, top + height}, colour);
  canvas.write(text, left + 2 * scale, top + scale, scale, readable_on(colour));
}

trainers::Image draw(const trainers::Image& image, const std::vector<Mark>& marks,
                     const DrawOptions& options) {
  Canvas canvas(image);
  const auto width = line_width(canvas, options), scale = text_scale(canvas, options);
  for (const auto& mark : std::ranges::reverse_view(marks)) {
    canvas.outline(mark.box, width, class_colour(mark.label));
    if (options.labels) draw_label(canvas, mark, scale);
  }
  return canvas.finish();
}

}  // namespace

// Hues one after the other in steps of the golden ratio are never close to those shortly before.
Colour class_colour(std::int64_t label) {
  constexpr double kGoldenRatio = 0.6180339887498949, kSaturation = 0.85;
  const double hue = 6 * std::fmod(static_cast<double>(label) * kGoldenRatio, 1.0);
  Colour colour{};
  for (std::size_t i = 0; i < 3; ++i) {
    const double offset =
        std::fmod(hue + 6 - 2 * static_cast<double>(i), 6.0);  // from this primary's own hue
    const double share = std::clamp(2 - std::min(offset, 6 - offset), 0.0, 1.0);
    colour[i] = static_cast<std::uint8_t>(std::lround(255 * (1 - kSaturation * (1 - share))));
  }
  return colour;
}

trainers::Image draw_boxes(const trainers::Image& image, const std::vector<Detection>& found,
                           const std::vector<std::string>& class_names, const DrawOptions& options) {
  std::vector<Mark> marks;
  marks.reserve(found.size());
  for (const auto& box : found)
    marks.push_back(
        {pixels_of(box, image), box.label, name_of(box.label, class_names) + " " + two_digits(box.score)});
  return draw(image, marks, options);
}

trainers::Image draw_boxes(const trainers::Image& image, const std::vector<GroundTruth>& objects,
                           const std::vector<std::string>& class_names, const DrawOptions& options) {
  std::vector<Mark> marks;
  marks.reserve(objects.size());
  for (const auto& box : objects)
    marks.push_back({pixels_of(box, image), box.label, name_of(box.label, class_names)});
  return draw(image, marks, options);
}

}  // namespace sparsify::detection
