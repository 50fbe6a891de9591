// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sparsify/trainers/image.hpp>
#include <sparsify/trainers/transforms.hpp>

namespace sparsify::trainers {

/// Labelled images. Every const member may be called from several threads at once.
class Dataset {
 public:
  explicit Dataset(std::vector<std::string> class_names) : class_names_(std::move(class_names)) {}
  virtual ~Dataset() = default;
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  virtual int64_t size() const = 0;
  /// Class of an image, an index into class_names().
  virtual int64_t label(int64_t index) const = 0;
  /// The image, valid as long as the data set. `at_least` allows a reduced size: see decode_image. Throws
  /// Error naming the file when it cannot be read.
  virtual Image image(int64_t index, int64_t at_least = 0) const = 0;
  /// Where the image comes from: a path, an archive's entry, or a position.
  virtual std::string describe(int64_t index) const = 0;

  const std::vector<std::string>& class_names() const { return class_names_; }
  int64_t classes() const { return static_cast<int64_t>(class_names_.size()); }

 private:
  std::vector<std::string> class_names_;
};

/// Training and validation part of a set, and how its images are usually fed to a network.
struct Datasets {
  std::string name;
  std::shared_ptr<const Dataset> train;
  std::shared_ptr<const Dataset> val;
  Normalization normalization;
  Augmentation augmentation;  ///< the usual one for training on this set
  int64_t image_size = 0;     ///< side of the network's input in pixels
};

struct DataOptions {
  int64_t image_size = 0;  ///< 0: the set's own size; folders of photographs: 224
  int64_t threads = 0;     ///< for decoding when the set is opened; 0: all cores
  int64_t memory_limit =
      int64_t{8} << 30;  ///< bytes; larger archives stay compressed and are decoded on demand
};

/// Opens a set by its specification:
/// - `generated`, `generated:train=12000,val=2000,seed=0`: see generated_dataset;
/// - a folder with train/<class>/*.jpg|jpeg|png|bmp and val/ or test/ beside it; classes in alphabetical
/// order;
/// - a .tar, .tar.gz or .tgz holding the same;
/// - CIFAR-10 or CIFAR-100, binary version: its archive, or the folder with its .bin files.
/// Throws Error saying what was looked for, or listing every missing or empty class and every empty file.
Datasets open_datasets(const std::string& spec, const DataOptions& options = {});

/// The built-in set: 32 x 32 RGB, ten classes, each a combination of outline (circle, cross, ring, square,
/// triangle) and filling (dotted, striped); pose, size, colours, light, clutter, occlusion and noise vary and
/// some samples lie half-way between two classes. Image `index` depends on nothing but (seed, split, index);
/// its class is index modulo 10. `split` keeps training and validation apart. `threads` 0: all cores.
std::shared_ptr<const Dataset> generated_dataset(int64_t size, uint64_t seed, uint64_t split,
                                                 int64_t threads = 0);

}  // namespace sparsify::trainers
