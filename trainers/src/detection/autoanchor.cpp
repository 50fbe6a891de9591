// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/autoanchor.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>

#include "sparsify/error.hpp"

namespace sparsify::detection {
namespace {

using Size = BoxSizes::value_type;

constexpr double kSmallestSide = 2;
constexpr double kMutation = 0.2;  // a side grows or shrinks by up to this part

// From 0 to 1; std's distributions differ between libraries.
double uniform(std::mt19937_64& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

// 1 where the sizes are the same, else the smallest factor, below 1, between their sides.
double likeness(const Size& a, const Size& b) {
  const double across = a.first / b.first, down = a.second / b.second;
  return std::min({across, 1 / across, down, 1 / down});
}

double best_likeness(const Size& box, const BoxSizes& anchors) {
  double best = 0;
  for (const auto& anchor : anchors) best = std::max(best, likeness(box, anchor));
  return best;
}

double fitness(const BoxSizes& boxes, const BoxSizes& anchors, double anchor_t) {
  double sum = 0;
  for (const auto& box : boxes) {
    const double best = best_likeness(box, anchors);
    if (best > 1 / anchor_t) sum += best;
  }
  return sum / static_cast<double>(boxes.size());
}

double squared_distance(const Size& a, const Size& b) {
  const double across = a.first - b.first, down = a.second - b.second;
  return across * across + down * down;
}

std::size_t nearest(const Size& box, const BoxSizes& centres) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < centres.size(); ++i)
    if (squared_distance(box, centres[i]) < squared_distance(box, centres[best])) best = i;
  return best;
}

// Each is drawn with a probability that grows with its squared distance from those before it (Arthur &
// Vassilvitskii 2007).
BoxSizes first_centres(const BoxSizes& boxes, std::size_t count, std::mt19937_64& random) {
  BoxSizes centres = {boxes[random() % boxes.size()]};
  std::vector<double> distances(boxes.size(), std::numeric_limits<double>::infinity());
  while (centres.size() < count) {
    double total = 0;
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      distances[i] = std::min(distances[i], squared_distance(boxes[i], centres.back()));
      total += distances[i];
    }
    double left = uniform(random) * total;
    std::size_t drawn = 0;
    while (drawn + 1 < boxes.size() && (left -= distances[drawn]) >= 0) ++drawn;
    centres.push_back(boxes[drawn]);
  }
  return centres;
}

BoxSizes means(const BoxSizes& boxes, const BoxSizes& centres) {
  BoxSizes sums(centres.size());
  std::vector<double> members(centres.size());
  for (const auto& box : boxes) {
    const auto cluster = nearest(box, centres);
    sums[cluster].first += box.first, sums[cluster].second += box.second, ++members[cluster];
  }
  for (std::size_t i = 0; i < centres.size(); ++i)
    sums[i] = members[i] > 0 ? Size(sums[i].first / members[i], sums[i].second / members[i]) : centres[i];
  return sums;
}

// The function of every side.
template <class Function>
BoxSizes each_side(BoxSizes sizes, Function function) {
  for (auto& [width, height] : sizes) width = function(width), height = function(height);
  return sizes;
}

// Logarithms, as anchors fit by ratios: large boxes would outweigh small ones otherwise.
BoxSizes cluster(const BoxSizes& boxes, std::size_t count, std::int64_t iterations, std::mt19937_64& random) {
  const auto logs = each_side(boxes, [](double side) { return std::log(side); });
  auto centres = first_centres(logs, count, random);
  for (std::int64_t i = 0; i < iterations; ++i) {
    auto moved = means(logs, centres);
    if (moved == centres) break;
    centres = std::move(moved);
  }
  return each_side(std::move(centres), [](double side) { return std::exp(side); });
}

BoxSizes sample(const BoxSizes& boxes, std::int64_t most) {
  const auto wanted = std::min(boxes.size(), static_cast<std::size_t>(most));
  BoxSizes drawn;
  drawn.reserve(wanted);
  for (std::size_t i = 0; i < wanted; ++i) drawn.push_back(boxes[i * boxes.size() / wanted]);
  return drawn;
}

// Half of the sides change, on average.
double mutated(double side, std::mt19937_64& random) {
  const bool changes = uniform(random) < 0.5;
  const double by = kMutation * (2 * uniform(random) - 1);
  return changes ? std::max(side * (1 + by), kSmallestSide) : side;
}

BoxSizes refine(BoxSizes anchors, const BoxSizes& boxes, const AutoAnchorOptions& options,
                std::mt19937_64& random) {
  double best = fitness(boxes, anchors, options.anchor_t);
  for (std::int64_t i = 0; i < options.generations; ++i) {
    auto child = anchors;
    for (auto& [width, height] : child) width = mutated(width, random), height = mutated(height, random);
    const double fit = fitness(boxes, child, options.anchor_t);
    if (fit > best) best = fit, anchors = std::move(child);
  }
  return anchors;
}

void check(const BoxSizes& boxes, std::int64_t count, const AutoAnchorOptions& options) {
  if (!(options.anchor_t > 1)) throw Error("anchors: anchor_t has to be above 1");
  if (options.iterations < 0 || options.generations < 0 || options.refined_on < 1)
    throw Error("anchors: iterations and generations must not be negative, and refined_on at least 1");
  if (count < 1) throw Error("anchors: expected at least one to look for, got " + std::to_string(count));
  if (static_cast<std::int64_t>(boxes.size()) < count)
    throw Error("anchors: " + std::to_string(count) + " need as many boxes, got " +
                std::to_string(boxes.size()));
  for (const auto& [width, height] : boxes)
    if (!(width > 0 && height > 0 && std::isfinite(width) && std::isfinite(height)))
      throw Error("anchors: a box of " + std::to_string(width) + " x " + std::to_string(height) + " pixels");
}

void spread(const BoxSizes& anchors, std::vector<DetectionHead>& heads) {
  std::vector<DetectionHead*> finest_first;
  for (auto& head : heads) {
    if (!(head.stride > 0)) throw Error("anchors: a head without a stride");
    finest_first.push_back(&head);
  }
  std::stable_sort(finest_first.begin(), finest_first.end(),
                   [](const auto* a, const auto* b) { return a->stride < b->stride; });
  auto next = anchors.begin();
  for (auto* head : finest_first)
    for (auto& anchor : head->anchors) anchor = *next++;
}

}  // namespace

BoxSizes box_sizes(const DetectionDataset& dataset, std::int64_t image_size) {
  BoxSizes sizes;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const auto [height, width] = dataset.image_size(i);
    const double scale = static_cast<double>(image_size) / static_cast<double>(std::max(height, width));
    for (const auto& object : dataset.objects(i)) {
      const double across = (object.x2 - object.x1) * scale, down = (object.y2 - object.y1) * scale;
      if (across > kSmallestSide && down > kSmallestSide) sizes.emplace_back(across, down);
    }
  }
  return sizes;
}

BoxSizes all_anchors(const std::vector<DetectionHead>& heads) {
  BoxSizes all;
  for (const auto& head : heads) all.insert(all.end(), head.anchors.begin(), head.anchors.end());
  return all;
}

double best_possible_recall(const BoxSizes& boxes, const BoxSizes& anchors, double anchor_t) {
  if (boxes.empty()) return 1;
  const auto fitting = std::count_if(boxes.begin(), boxes.end(), [&](const Size& box) {
    return best_likeness(box, anchors) > 1 / anchor_t;
  });
  return static_cast<double>(fitting) / static_cast<double>(boxes.size());
}

BoxSizes find_anchors(const BoxSizes& boxes, std::int64_t count, const AutoAnchorOptions& options) {
  check(boxes, count, options);
  std::mt19937_64 random(options.seed);
  auto anchors = cluster(boxes, static_cast<std::size_t>(count), options.iterations, random);
  anchors = refine(std::move(anchors), sample(boxes, options.refined_on), options, random);
  std::sort(anchors.begin(), anchors.end(), [](const Size& a, const Size& b) {
    return std::pair(a.first * a.second, a) < std::pair(b.first * b.second, b);
  });
  return anchors;
}

std::vector<DetectionHead> fit_anchors(std::vector<DetectionHead> heads, const BoxSizes& boxes,
                                       const AutoAnchorOptions& options) {
  const auto before = all_anchors(heads);
  const double recall = best_possible_recall(boxes, before, options.anchor_t);
  if (recall >= options.enough) return heads;
  const auto found = find_anchors(boxes, static_cast<std::int64_t>(before.size()), options);
  if (best_possible_recall(boxes, found, options.anchor_t) > recall) spread(found, heads);
  return heads;
}

}  // namespace sparsify::detection
