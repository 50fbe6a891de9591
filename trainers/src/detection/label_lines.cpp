// SPDX-License-Identifier: Apache-2.0
#include "detection/label_lines.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <system_error>

#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

// Parts of the image's size by which corners of polygons may lie outside, as boxes reach outside: to be
// clipped.
constexpr double kCornersBeyond = 0.1;

// Nothing where there is something else on the line.
std::vector<double> numbers_on(const std::string& line) {
  std::istringstream stream(line);
  std::vector<double> numbers;
  for (std::string word; stream >> word;) {
    const auto* end = word.data() + word.size();
    double number = 0;
    const auto result = std::from_chars(word.data() + (word.front() == '+'), end, number);
    if (result.ec != std::errc() || result.ptr != end) return {};
    numbers.push_back(number);
  }
  return numbers;
}

struct Span {
  double from, to;
};

// Of the corners' x or y, which begin at `first`: the box around an outlined object, as Ultralytics takes it.
Span span_of(const std::vector<double>& numbers, std::size_t first) {
  Span span{numbers[first], numbers[first]};
  for (auto i = first; i < numbers.size(); i += 2)
    span = {std::min(span.from, numbers[i]), std::max(span.to, numbers[i])};
  return span;
}

GroundTruth parse_label(const std::string& line, const std::string& place, std::int64_t classes, double width,
                        double height) {
  const auto numbers = numbers_on(line);
  const auto count = numbers.size();
  const bool is_polygon = count >= 7 && count % 2 == 1;
  if (count != 5 && !is_polygon)
    throw Error(place +
                ": expected class, x, y, width and height, or class and three or more corners x, y, got '" +
                line + "'");
  const double label = numbers.front();
  if (label != std::floor(label) || label < 0 || label >= static_cast<double>(classes))
    throw Error(place + ": expected a class from 0 to " + std::to_string(classes - 1) + ", got '" + line +
                "'");
  const double beyond = is_polygon ? kCornersBeyond : 0;
  for (std::size_t i = 1; i < count; ++i)
    if (!(numbers[i] >= -beyond && numbers[i] <= 1 + beyond))
      throw Error(place + ": expected parts of the image's size, from 0 to 1, got '" + line + "'");
  const auto side = [&](std::size_t centre) {
    const double half = numbers[centre + 2] / 2;
    return Span{numbers[centre] - half, numbers[centre] + half};
  };
  const auto x = is_polygon ? span_of(numbers, 1) : side(1), y = is_polygon ? span_of(numbers, 2) : side(2);
  return {static_cast<float>(x.from * width), static_cast<float>(y.from * height),
          static_cast<float>(x.to * width), static_cast<float>(y.to * height),
          static_cast<std::int64_t>(label)};
}

}  // namespace

std::vector<LabelLine> read_label_lines(const std::filesystem::path& file, std::int64_t classes, double width,
                                        double height, std::vector<std::string>& errors) {
  std::vector<LabelLine> lines;
  if (!std::filesystem::exists(file)) return lines;
  std::ifstream stream(file);
  if (!stream) errors.push_back(file.string() + ": cannot be read");
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto place = file.string() + ":" + std::to_string(number);
    try {
      lines.push_back({parse_label(line, place, classes, width, height), place, line});
    } catch (const Error& error) {
      errors.push_back(error.what());
    }
  }
  return lines;
}

}  // namespace sparsify::detection
