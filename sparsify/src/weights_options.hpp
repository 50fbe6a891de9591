// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "command_line.hpp"
#include "workflow/input_error.hpp"
#include "workflow/saved_model.hpp"

namespace sparsify {

/// The options of a network by name with a file of weights, where a run can be given instead.
inline void declare_weights_options(CommandLine& line) {
  line.option("what", "model", "network by name, or a detector's .cfg or .yaml", "NAME");
  line.option("what", "weights", "its weights: .safetensors, .pt, .pth, .weights, or a checkpoint", "FILE");
  line.option("what", "data",
              "image folder, CIFAR archive, generated[:train=N,val=N,seed=N], or a detector's data", "D");
  line.option("what", "image-size,imgsz",
              "side of the network's input in pixels; also --imgsz (default: usual for the data)", "N");
}

/// What those options name.
inline WeightedModel open_weights(const CommandLine& line) {
  return open_weights(line.text("model"), line.text("weights"), line.text("data"),
                      line.integer("image-size", 0, 1, 16384));
}

/// Throws InputError when a network is named beside a run, checkpoint or file at `path`.
inline void refuse_weights_beside(const CommandLine& line, const std::string& path) {
  if (line.given("model") || line.given("weights"))
    throw InputError("give either " + path + " or --model and --weights, not both");
}

/// Throws InputError for a size given with a run, which knows its own.
inline void refuse_image_size(const CommandLine& line, const std::string& path) {
  if (line.given("image-size"))
    throw InputError("--image-size: " + path + " knows the size it was trained with");
}

}  // namespace sparsify
