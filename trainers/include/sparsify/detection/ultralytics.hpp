// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "sparsify/detection/detector.hpp"

namespace sparsify::detection {

struct UltralyticsOptions {
  std::int64_t classes = 0;  ///< 0: the file's `nc`
  /// "nn.SiLU()", "nn.LeakyReLU(0.1)", "nn.ReLU()", "nn.Mish()", "nn.Identity()", also without "nn." and
  /// "()" and in small letters. Empty: the file's `activation`, or SiLU where it says none. Weight files do
  /// not tell which one they were trained with: Ultralytics' own of YOLOv3 up to 9.5 with LeakyReLU, later
  /// ones with SiLU.
  std::string activation{};
};

/// Builds a detector from a model of Ultralytics' YOLO: a YAML file with `nc`, `depth_multiple`,
/// `width_multiple`, `activation`, `anchors`, `backbone` and `head`, whose rows are [from, number, module,
/// args]. Modules: Conv, Bottleneck, SPP, Concat, nn.Upsample, nn.MaxPool2d, nn.ZeroPad2d, Detect. Parameters
/// have Ultralytics' names; weights are freshly initialised, with its biases of the heads.
///
/// Where there is no such file, the name of one of our own, with or without ".yaml": see
/// builtin_ultralytics_models. Throws Error naming file, line and column.
std::shared_ptr<Detector> build_ultralytics(const std::filesystem::path& file_or_builtin,
                                            const UltralyticsOptions& options = {});

/// The same from text; `name` stands for the file in messages.
std::shared_ptr<Detector> parse_ultralytics(const std::string& text, const std::string& name,
                                            const UltralyticsOptions& options = {});

/// "yolov3", "yolov3-spp", "yolov3-tiny".
std::vector<std::string> builtin_ultralytics_models();

}  // namespace sparsify::detection
