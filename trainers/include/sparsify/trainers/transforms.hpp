// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include <sparsify/trainers/counter_rng.hpp>
#include <sparsify/trainers/image.hpp>

namespace sparsify::trainers {

/// Input = (pixel / 255 - mean) / std, per RGB channel. The default is ImageNet's.
struct Normalization {
  std::array<float, 3> mean{0.485F, 0.456F, 0.406F};
  std::array<float, 3> std{0.229F, 0.224F, 0.225F};
  bool operator==(const Normalization&) const = default;
};

enum class PaddingMode { kReflect, kZero };

/// A random part of the image, resized to the input size (Szegedy et al. 2015).
struct RandomResizedCrop {
  float min_scale = 0.08F;  ///< part of the image's area
  float max_scale = 1.0F;
  float min_ratio = 3.0F / 4.0F;  ///< width / height, drawn log-uniformly
  float max_ratio = 4.0F / 3.0F;
  bool operator==(const RandomResizedCrop&) const = default;
};

/// Factors drawn from [1 - x, 1 + x], applied as brightness, then contrast, then saturation.
struct ColorJitter {
  float brightness = 0.0F;
  float contrast = 0.0F;
  float saturation = 0.0F;
  bool operator==(const ColorJitter&) const = default;
};

/// What happens to a training image. The default changes nothing, which is what evaluation uses.
struct Augmentation {
  int64_t random_crop_padding = 0;  ///< pixels added on every side before a random crop of the input size
  PaddingMode padding_mode = PaddingMode::kReflect;
  bool horizontal_flip = false;                          ///< with probability 1/2
  std::optional<RandomResizedCrop> random_resized_crop;  ///< replaces resize and padding
  std::optional<ColorJitter> color_jitter;

  static Augmentation none() { return {}; }
  /// Pad 4, crop, flip.
  static Augmentation small_images();
  /// RandomResizedCrop and flip.
  static Augmentation large_images();
  bool operator==(const Augmentation&) const = default;
};

/// Turns images into normalised network input. Immutable, so any number of threads may share one.
class Transform {
 public:
  /// `image_size`: side of the square input in pixels. Throws Error on values outside their range.
  Transform(int64_t image_size, const Normalization& normalization, const Augmentation& augmentation = {});

  int64_t image_size() const { return image_size_; }

  /// Writes image_size * image_size * 3 floats (NHWC order) to `output`. Without a random resized crop an
  /// image of another size is first resized (shorter side to image_size * 256 / 224) and cropped at its
  /// centre; an image of the right size is used as it is. Everything random comes from `rng`.
  void apply(const Image& image, CounterRng rng, float* output) const;

  /// How many pixels the shorter side must have so that nothing is enlarged: the `at_least` of decoding. The
  /// same `rng` must then be given to apply().
  int64_t shorter_side_needed(CounterRng rng) const;

 private:
  Image to_input_size(const Image& image, CounterRng& rng) const;
  Box draw_crop(const Image& image, CounterRng& rng) const;
  void write(const Image& image, int64_t top, int64_t left, bool flip, float* output) const;
  Image jittered(const Image& image, CounterRng& rng) const;

  int64_t image_size_;
  Augmentation augmentation_;
  std::array<std::array<float, 256>, 3> table_{};
};

}  // namespace sparsify::trainers
