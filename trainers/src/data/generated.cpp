// SPDX-License-Identifier: Apache-2.0
// The built-in set. Only + - * / sqrt and floor are used: every IEEE machine draws the same bytes.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>

#include <sparsify/error.hpp>

#include "parallel.hpp"
#include "sources.hpp"

namespace sparsify::trainers {
namespace {

constexpr int kSide = 32;
constexpr int64_t kClasses = 10;
constexpr int kOutlines = 5;
enum Outline { kCircle, kCross, kRing, kSquare, kTriangle };

const std::vector<std::string>& generated_class_names() {
  static const std::vector<std::string> names = {
      "circle_dotted", "circle_striped", "cross_dotted",   "cross_striped",   "ring_dotted",
      "ring_striped",  "square_dotted",  "square_striped", "triangle_dotted", "triangle_striped"};
  return names;
}

// How hard the set is; tuned so that a small ResNet ends between 90 and 97 %.
constexpr float kAmbiguous = 0.06F;  // part of the samples that lie half-way between two classes
constexpr float kOccluded = 0.3F;    // part of the samples with a bar across the figure
constexpr float kMaxNoise = 22.0F;   // grey levels
constexpr float kContrast = 200.0F;  // least sum of channel differences between a figure's two colours
constexpr float kMaxTilt = 0.35F;    // sine of the largest rotation of a figure: 20 degrees
constexpr float kPlay = 0.8F;        // 1: a figure may touch or slightly cross the border
constexpr int64_t kMaxClutter = 3;

struct Color {
  float rgb[3];
};

Color blend(const Color& a, const Color& b, float t) {
  Color mixed;
  for (int c = 0; c < 3; ++c) mixed.rgb[c] = a.rgb[c] + (b.rgb[c] - a.rgb[c]) * t;
  return mixed;
}

Color random_color(CounterRng& rng) {
  Color color;
  for (float& value : color.rgb) value = rng.uniform(20.0F, 235.0F);
  return color;
}

// A colour that can be told from `other`: a pair of fillings needs contrast, not particular hues.
Color contrasting_color(const Color& other, float contrast, CounterRng& rng) {
  for (;;) {
    Color color = random_color(rng);
    float difference = 0;
    for (int c = 0; c < 3; ++c) difference += std::abs(color.rgb[c] - other.rgb[c]);
    if (difference >= contrast) return color;
  }
}

struct Direction {
  float x;
  float y;
};

// Uniform on the circle without trigonometry.
Direction random_direction(CounterRng& rng) {
  for (;;) {
    float x = rng.uniform(-1, 1);
    float y = rng.uniform(-1, 1);
    float square = x * x + y * y;
    if (square > 0.01F && square <= 1.0F) {
      float length = std::sqrt(square);
      return {x / length, y / length};
    }
  }
}

float box_distance(float x, float y, float half_width, float half_height) {
  return std::max(std::abs(x) - half_width, std::abs(y) - half_height);
}

// Distance to the outline in a frame where it fills about the unit circle; negative inside. All have similar
// areas.
float outline_distance(int outline, float x, float y) {
  switch (outline) {
    case kCircle:
      return std::sqrt(x * x + y * y) - 0.86F;
    case kCross:
      return std::min(box_distance(x, y, 1.0F, 0.38F), box_distance(x, y, 0.38F, 1.0F));
    case kRing:
      return std::abs(std::sqrt(x * x + y * y) - 0.68F) - 0.3F;
    case kSquare:
      return box_distance(x, y, 0.76F, 0.76F);
    default:
      return std::max({y, 0.866F * x - 0.5F * y, -0.866F * x - 0.5F * y}) - 0.58F;
  }
}

// A wave between -1 and 1 with period 1.
float triangle_wave(float t) { return 4.0F * std::abs(t - std::floor(t) - 0.5F) - 1.0F; }
float harden(float wave) { return std::clamp(0.5F + 1.6F * wave, 0.0F, 1.0F); }
// Both fillings cover half of the area, so that the mean colour says nothing.
float striped(float u, float /*v*/) { return harden(triangle_wave(u)); }
float dotted(float u, float v) { return harden(triangle_wave(u) + triangle_wave(v)); }

struct Figure {
  int outline = 0;
  int other_outline = 0;  ///< of the class an ambiguous figure is half-way to
  float stripes = 0;      ///< 0 dotted, 1 striped
  float morph = 0;
  float x = 0;
  float y = 0;
  float radius = 1;
  float stretch = 1;
  Direction pose{1, 0};
  Direction grain{1, 0};
  float period = 4;
  float phase_u = 0;
  float phase_v = 0;
  Color ink{};
  Color paper{};
  float softness = 1;
};

class Canvas {
 public:
  void fill(CounterRng& rng) {
    Color from = random_color(rng);
    Color to = random_color(rng);
    Direction along = random_direction(rng);
    Direction wave = random_direction(rng);
    float frequency = rng.uniform(0.04F, 0.1F);
    float strength = rng.uniform(0.0F, 0.18F);
    float phase = rng.uniform();
    for (int y = 0; y < kSide; ++y)
      for (int x = 0; x < kSide; ++x) {
        float t = 0.5F + (along.x * centred(x) + along.y * centred(y)) / kSide;
        t += strength * triangle_wave((wave.x * centred(x) + wave.y * centred(y)) * frequency + phase);
        at(x, y) = blend(from, to, t);
      }
  }

  void paint(const Figure& f) {
    const float reach = f.radius * 1.25F + 1;
    for (int y = first(f.y - reach); y < last(f.y + reach); ++y)
      for (int x = first(f.x - reach); x < last(f.x + reach); ++x) {
        float dx = static_cast<float>(x) - f.x;
        float dy = static_cast<float>(y) - f.y;
        float along = (f.pose.x * dx + f.pose.y * dy) / f.radius * f.stretch;
        float across = (f.pose.x * dy - f.pose.y * dx) / f.radius / f.stretch;
        float distance = outline_distance(f.outline, along, across);
        if (f.morph > 0) distance += f.morph * (outline_distance(f.other_outline, along, across) - distance);
        float coverage = std::clamp(0.5F - distance * f.radius / f.softness, 0.0F, 1.0F);
        if (coverage <= 0) continue;
        at(x, y) = blend(at(x, y), blend(f.paper, f.ink, filling(f, dx, dy)), coverage);
      }
  }

  void paint_bar(float x0, float y0, Direction normal, float half_width, const Color& color) {
    for (int y = 0; y < kSide; ++y)
      for (int x = 0; x < kSide; ++x) {
        float distance =
            std::abs(normal.x * (static_cast<float>(x) - x0) + normal.y * (static_cast<float>(y) - y0));
        float coverage = std::clamp(0.5F + half_width - distance, 0.0F, 1.0F);
        if (coverage > 0) at(x, y) = blend(at(x, y), color, coverage);
      }
  }

  // Uneven light and sensor noise, then bytes.
  void expose(CounterRng& rng, uint8_t* output) const {
    Direction light = random_direction(rng);
    float gain = rng.uniform(0.65F, 1.2F);
    float slope = rng.uniform(0.0F, 0.35F);
    float noise = rng.uniform(0.1F, 1.0F) * kMaxNoise;
    for (int y = 0; y < kSide; ++y)
      for (int x = 0; x < kSide; ++x) {
        float level = gain * (1.0F + slope * (light.x * centred(x) + light.y * centred(y)) / (kSide / 2));
        uint64_t bits = rng.next();
        for (int c = 0; c < 3; ++c, bits >>= 20) {
          auto sum = static_cast<float>((bits & 1023) + ((bits >> 10) & 1023)) / 1023.0F - 1.0F;
          float value = pixels_[y * kSide + x].rgb[c] * level + noise * sum;
          *output++ = static_cast<uint8_t>(std::clamp(value, 0.0F, 255.0F) + 0.5F);
        }
      }
  }

 private:
  static float centred(int position) { return static_cast<float>(position) - 0.5F * (kSide - 1); }
  static int first(float position) { return std::clamp(static_cast<int>(position), 0, kSide); }
  static int last(float position) { return std::clamp(static_cast<int>(position) + 2, 0, kSide); }

  static float filling(const Figure& f, float dx, float dy) {
    float u = (f.grain.x * dx + f.grain.y * dy) / f.period + f.phase_u;
    float v = (f.grain.x * dy - f.grain.y * dx) / f.period + f.phase_v;
    if (f.stripes <= 0) return dotted(u, v);
    if (f.stripes >= 1) return striped(u, v);
    return dotted(u, v) + f.stripes * (striped(u, v) - dotted(u, v));
  }

  Color& at(int x, int y) { return pixels_[y * kSide + x]; }

  Color pixels_[kSide * kSide];
};

Direction tilt(CounterRng& rng) {
  float sine = rng.uniform(-kMaxTilt, kMaxTilt);
  return {std::sqrt(1.0F - sine * sine), sine};
}

Figure random_figure(float min_radius, float max_radius, CounterRng& rng) {
  Figure f;
  f.radius = rng.uniform(min_radius, max_radius);
  f.stretch = rng.uniform(0.85F, 1.18F);
  f.pose = tilt(rng);
  f.grain = random_direction(rng);
  f.period = rng.uniform(4.6F, 6.5F);
  f.phase_u = rng.uniform();
  f.phase_v = rng.uniform();
  f.softness = rng.uniform(0.8F, 1.6F);
  return f;
}

// Small plain things that are no classes; they hide edges and imitate corners.
void add_clutter(Canvas& canvas, CounterRng& rng) {
  for (int64_t i = rng.below(kMaxClutter + 1); i > 0; --i) {
    Figure f = random_figure(2.0F, 4.5F, rng);
    f.outline = static_cast<int>(rng.below(kOutlines));
    f.x = rng.uniform(0, kSide);
    f.y = rng.uniform(0, kSide);
    f.ink = f.paper = random_color(rng);
    canvas.paint(f);
  }
}

Figure subject(int64_t label, CounterRng& rng) {
  Figure f = random_figure(10.5F, 14.0F, rng);
  f.outline = static_cast<int>(label / 2);
  f.stripes = static_cast<float>(label % 2);
  float play = kPlay * (15.5F - 0.8F * f.radius);
  f.x = 15.5F + rng.uniform(-play, play);
  f.y = 15.5F + rng.uniform(-play, play);
  f.ink = random_color(rng);
  f.paper = contrasting_color(f.ink, kContrast, rng);
  if (rng.chance(kAmbiguous)) {
    int64_t other = (label + 1 + rng.below(kClasses - 1)) % kClasses;
    f.other_outline = static_cast<int>(other / 2);
    f.morph = 0.5F;
    f.stripes += 0.5F * (static_cast<float>(other % 2) - f.stripes);
  }
  return f;
}

void add_occlusion(Canvas& canvas, const Figure& f, CounterRng& rng) {
  Direction normal = random_direction(rng);
  float offset = rng.uniform(-0.7F, 0.7F) * f.radius;
  canvas.paint_bar(f.x + normal.x * offset, f.y + normal.y * offset, normal, rng.uniform(1.0F, 2.2F),
                   random_color(rng));
}

void draw_sample(int64_t label, CounterRng rng, uint8_t* output) {
  Canvas canvas;
  canvas.fill(rng);
  add_clutter(canvas, rng);
  Figure figure = subject(label, rng);
  canvas.paint(figure);
  if (rng.chance(kOccluded)) add_occlusion(canvas, figure, rng);
  canvas.expose(rng, output);
}

int64_t parse_count(const std::string& key, const std::string& text) {
  int64_t value = -1;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || value < 0 || value > 100'000'000)
    throw Error("data set 'generated': " + key + "=" + text +
                "; expected a whole number from 0 to 100000000");
  return value;
}

std::map<std::string, int64_t> parse_parameters(const std::string& text) {
  std::map<std::string, int64_t> values = {{"train", 12000}, {"val", 2000}, {"seed", 0}};
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    std::string item = text.substr(begin, end - begin);
    size_t equals = item.find('=');
    std::string key = item.substr(0, equals);
    if (equals == std::string::npos || !values.contains(key))
      throw Error("data set 'generated': parameter '" + item + "'; expected train=N, val=N or seed=N");
    values[key] = parse_count(key, item.substr(equals + 1));
    begin = end + 1;
  }
  for (const char* key : {"train", "val"})
    if (values[key] == 0)
      throw Error("data set 'generated': " + std::string(key) + "=0; expected at least 1");
  return values;
}

}  // namespace

std::shared_ptr<const Dataset> generated_dataset(int64_t size, uint64_t seed, uint64_t split,
                                                 int64_t threads) {
  constexpr int64_t kBytes = int64_t{kSide} * kSide * 3;
  std::vector<uint8_t> pixels(static_cast<size_t>(size * kBytes));
  std::vector<MemoryDataset::Item> items(static_cast<size_t>(size));
  for_each_index(size, threads, [&](int64_t i) {
    int64_t label = i % kClasses;
    draw_sample(label, CounterRng(seed, split, static_cast<uint64_t>(i)), pixels.data() + i * kBytes);
    items[static_cast<size_t>(i)] = {i * kBytes, kSide, kSide, static_cast<int32_t>(label)};
  });
  return std::make_shared<MemoryDataset>("generated", generated_class_names(), std::move(items),
                                         std::move(pixels));
}

Datasets open_generated(const std::string& parameters, const DataOptions& options) {
  auto values = parse_parameters(parameters);
  auto seed = static_cast<uint64_t>(values["seed"]);
  Datasets sets;
  sets.name = "generated";
  sets.train = generated_dataset(values["train"], seed, 0, options.threads);
  sets.val = generated_dataset(values["val"], seed, 1, options.threads);
  sets.image_size = options.image_size > 0 ? options.image_size : kSide;
  sets.augmentation = Augmentation::small_images();
  return sets;
}

}  // namespace sparsify::trainers
