// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "sparsify/detection/detector.hpp"

namespace sparsify::detection {

struct DarknetOptions {
  /// Added to the variance under the root, as AlexeyAB's darknet does. The original adds 1e-6 beside the
  /// root, which 1e-12 stands in for; the difference shows only in channels that hardly vary.
  double bn_eps = 1e-5;
};

/// Builds a detector from a darknet .cfg: convolutional (groups, every activation of the YOLO family),
/// shortcut, route (groups), upsample, maxpool, dropout, yolo (scale_x_y). Weights are freshly initialised.
/// Throws Error naming file and line, also for keys of layers that are unknown, given twice, or would change
/// what is computed in a way that is not supported; keys of darknet's training are left alone.
std::shared_ptr<Detector> build_darknet(const std::filesystem::path& config,
                                        const DarknetOptions& options = {});

/// The same from text; `name` stands for the file in messages.
std::shared_ptr<Detector> parse_darknet(const std::string& config, const std::string& name,
                                        const DarknetOptions& options = {});

/// How long a network has been trained, from the header of a weights file.
struct DarknetHeader {
  std::int32_t major = 0, minor = 2, revision = 5;
  std::uint64_t images_seen = 0;
};

/// Fills a detector from darknet's .weights: a header, then for every convolution, in the order of the .cfg,
/// biases (of batch-norm: beta), then gamma, running mean and variance when it has batch-norm, then the
/// kernel. Throws Error when the file is shorter or longer than that, and for a detector that was not built
/// from a .cfg; the detector is unchanged then.
DarknetHeader load_darknet_weights(Detector& detector, const std::filesystem::path& file);

/// How many convolutions of a detector such files fill, one after the other.
std::int64_t darknet_convolutions(const Detector& detector);

/// Fills the first convolutions only, from a file that ends after one of them, as "darknet53.conv.74" does;
/// also of a detector by Ultralytics, whose backbones have darknet's order. Gives how many it filled. Throws
/// Error when the file ends within a convolution, before the first one or is longer than the network; the
/// detector is unchanged then.
std::int64_t load_darknet_backbone(Detector& detector, const std::filesystem::path& file);

/// Writes what load_darknet_weights reads, in one step.
void save_darknet_weights(const Detector& detector, const std::filesystem::path& file,
                          const DarknetHeader& header = {});

}  // namespace sparsify::detection
