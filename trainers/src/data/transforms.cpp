// SPDX-License-Identifier: Apache-2.0
#include <sparsify/trainers/transforms.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include <sparsify/error.hpp>

namespace sparsify::trainers {
namespace {

void demand(bool condition, const std::string& message) {
  if (!condition) throw Error("transform: " + message);
}

void check(const Augmentation& augmentation, int64_t image_size) {
  int64_t padding = augmentation.random_crop_padding;
  demand(padding >= 0 && padding < image_size,
         "random_crop_padding is " + std::to_string(padding) +
             "; expected 0 to image_size - 1 = " + std::to_string(image_size - 1));
  if (const auto& crop = augmentation.random_resized_crop) {
    demand(crop->min_scale > 0 && crop->min_scale <= crop->max_scale && crop->max_scale <= 1,
           "random_resized_crop scale; expected 0 < min <= max <= 1");
    demand(crop->min_ratio > 0 && crop->min_ratio <= crop->max_ratio,
           "random_resized_crop ratio; expected 0 < min <= max");
  }
  if (const auto& jitter = augmentation.color_jitter)
    for (float strength : {jitter->brightness, jitter->contrast, jitter->saturation})
      demand(strength >= 0 && strength <= 1, "color_jitter strengths; expected 0 to 1");
}

int64_t reflected(int64_t position, int64_t size) {
  if (position < 0) return -position;
  return position < size ? position : 2 * size - 2 - position;
}

struct Crop {
  float scale;
  float ratio;
};

Crop draw(const RandomResizedCrop& options, CounterRng& rng) {
  float scale = rng.uniform(options.min_scale, options.max_scale);
  float ratio = std::exp(rng.uniform(std::log(options.min_ratio), std::log(options.max_ratio)));
  return {scale, ratio};
}

int64_t shorter_side_before_crop(int64_t image_size) { return (image_size * 256 + 112) / 224; }

float grey(const float* rgb) { return 0.299F * rgb[0] + 0.587F * rgb[1] + 0.114F * rgb[2]; }

uint8_t to_byte(float value) { return static_cast<uint8_t>(std::clamp(value, 0.0F, 255.0F) + 0.5F); }

}  // namespace

Augmentation Augmentation::small_images() {
  Augmentation augmentation;
  augmentation.random_crop_padding = 4;
  augmentation.horizontal_flip = true;
  return augmentation;
}

Augmentation Augmentation::large_images() {
  Augmentation augmentation;
  augmentation.horizontal_flip = true;
  augmentation.random_resized_crop.emplace();
  return augmentation;
}

Transform::Transform(int64_t image_size, const Normalization& normalization, const Augmentation& augmentation)
    : image_size_(image_size), augmentation_(augmentation) {
  demand(image_size > 0 && image_size <= 16384,
         "image_size is " + std::to_string(image_size) + "; expected 1 to 16384 pixels");
  check(augmentation, image_size);
  for (size_t c = 0; c < 3; ++c) {
    demand(normalization.std[c] > 0, "normalization.std has to be positive");
    for (size_t value = 0; value < 256; ++value)
      table_[c][value] = (static_cast<float>(value) / 255.0F - normalization.mean[c]) / normalization.std[c];
  }
}

int64_t Transform::shorter_side_needed(CounterRng rng) const {
  if (!augmentation_.random_resized_crop) return shorter_side_before_crop(image_size_);
  Crop crop = draw(*augmentation_.random_resized_crop, rng);
  float shorter_side_of_crop = std::sqrt(crop.scale * std::min(crop.ratio, 1.0F / crop.ratio));
  return static_cast<int64_t>(std::ceil(static_cast<float>(image_size_) / shorter_side_of_crop));
}

Box Transform::draw_crop(const Image& image, CounterRng& rng) const {
  int64_t height = image.height();
  int64_t width = image.width();
  const RandomResizedCrop& options = *augmentation_.random_resized_crop;
  for (int attempt = 0; attempt < 10; ++attempt) {
    Crop crop = draw(options, rng);
    auto area = crop.scale * static_cast<float>(height * width);
    auto w = static_cast<int64_t>(std::lround(std::sqrt(area * crop.ratio)));
    auto h = static_cast<int64_t>(std::lround(std::sqrt(area / crop.ratio)));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    int64_t top = rng.below(height - h + 1);
    return {top, rng.below(width - w + 1), h, w};
  }
  // A very long image: its centre, as near to the allowed ratios as fits.
  auto h = std::clamp<int64_t>(std::lround(static_cast<float>(width) / options.min_ratio), 1, height);
  auto w = std::clamp<int64_t>(std::lround(static_cast<float>(height) * options.max_ratio), 1, width);
  return {(height - h) / 2, (width - w) / 2, h, w};
}

Image Transform::to_input_size(const Image& image, CounterRng& rng) const {
  int64_t side = image_size_;
  if (augmentation_.random_resized_crop) return resize(image, draw_crop(image, rng), side, side);
  if (image.height() == side && image.width() == side) return Image::view(side, side, image.rgb());
  int64_t target = shorter_side_before_crop(side);
  int64_t shorter = std::min(image.height(), image.width());
  int64_t height = image.height() * target / shorter;
  int64_t width = image.width() * target / shorter;
  return resize_window(image, height, width, {(height - side) / 2, (width - side) / 2, side, side});
}

Image Transform::jittered(const Image& image, CounterRng& rng) const {
  const ColorJitter& jitter = *augmentation_.color_jitter;
  float brightness = rng.uniform(1 - jitter.brightness, 1 + jitter.brightness);
  float contrast = rng.uniform(1 - jitter.contrast, 1 + jitter.contrast);
  float saturation = rng.uniform(1 - jitter.saturation, 1 + jitter.saturation);
  int64_t pixels = image.height() * image.width();
  std::vector<uint8_t> output(static_cast<size_t>(pixels * 3));
  const uint8_t* in = image.rgb();
  double sum = 0;
  for (int64_t i = 0; i < pixels; ++i)
    sum += 0.299 * in[i * 3] + 0.587 * in[i * 3 + 1] + 0.114 * in[i * 3 + 2];
  float mean = brightness * static_cast<float>(sum / static_cast<double>(pixels));
  for (int64_t i = 0; i < pixels; ++i) {
    float rgb[3];
    for (int64_t c = 0; c < 3; ++c) rgb[c] = contrast * (brightness * in[i * 3 + c]) + (1 - contrast) * mean;
    float level = (1 - saturation) * grey(rgb);
    for (int64_t c = 0; c < 3; ++c)
      output[static_cast<size_t>(i * 3 + c)] = to_byte(saturation * rgb[c] + level);
  }
  return {image.height(), image.width(), std::move(output)};
}

void Transform::write(const Image& image, int64_t top, int64_t left, bool flip, float* output) const {
  static constexpr uint8_t kBlack[3] = {0, 0, 0};
  const int64_t side = image_size_;
  const bool reflect = augmentation_.padding_mode == PaddingMode::kReflect;
  auto put = [&](const uint8_t* pixel, float* target) {
    target[0] = table_[0][pixel[0]];
    target[1] = table_[1][pixel[1]];
    target[2] = table_[2][pixel[2]];
  };
  for (int64_t y = 0; y < side; ++y) {
    int64_t source_y = y + top;
    bool row_inside = source_y >= 0 && source_y < side;
    if (reflect) source_y = reflected(source_y, side);
    float* row = output + y * side * 3;
    int64_t step = flip ? -3 : 3;
    float* target = flip ? row + (side - 1) * 3 : row;
    auto edge = [&](int64_t x) {
      bool inside = row_inside && x >= 0 && x < side;
      put(inside || reflect ? image.pixel(source_y, reflected(x, side)) : kBlack, target);
      target += step;
    };
    if (!row_inside && !reflect) {
      for (int64_t x = 0; x < side; ++x) edge(x + left);
      continue;
    }
    int64_t first = std::max<int64_t>(left, 0);
    int64_t last = std::min<int64_t>(left + side, side);
    for (int64_t x = left; x < first; ++x) edge(x);
    const uint8_t* pixel = image.pixel(source_y, first);
    for (int64_t x = first; x < last; ++x, pixel += 3, target += step) put(pixel, target);
    for (int64_t x = last; x < left + side; ++x) edge(x);
  }
}

void Transform::apply(const Image& image, CounterRng rng, float* output) const {
  demand(image.height() > 0 && image.width() > 0, "the image is empty");
  Image input = to_input_size(image, rng);
  int64_t padding = augmentation_.random_resized_crop ? 0 : augmentation_.random_crop_padding;
  int64_t top = padding > 0 ? rng.below(2 * padding + 1) - padding : 0;
  int64_t left = padding > 0 ? rng.below(2 * padding + 1) - padding : 0;
  bool flip = augmentation_.horizontal_flip && rng.chance(0.5F);
  if (augmentation_.color_jitter) input = jittered(input, rng);
  write(input, top, left, flip, output);
}

}  // namespace sparsify::trainers
