// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sparsify/trainers/network.hpp"

namespace sparsify {

/// An image classifier.
class Model : public Network {
 public:
  /// Images [N, C, H, W] in, logits [N, classes] out.
  virtual torch::Tensor forward(torch::Tensor images) = 0;
  Outputs outputs(const torch::Tensor& images) override { return {forward(images)}; }
};

struct ModelOptions {
  int64_t num_classes = 1000;
  int64_t in_channels = 3;
  /// Height and width in pixels. Only `linear` needs it, as its weights depend on it; 0 means the model's own
  /// size.
  int64_t image_size = 0;
};

/// What can be known of a model without building it.
struct ModelInfo {
  std::string name;
  int64_t image_size;  ///< The height and width it is usually trained at, in pixels.
  std::string description;
};

/// The names `build_model` knows, by family and size.
std::vector<std::string> model_names();

/// Facts about one model. Throws Error for an unknown name, listing all names and the nearest one.
ModelInfo model_info(const std::string& name);

/// Builds a freshly initialised float32 model in training mode; draws from torch's default generator.
///
/// `resnet18/34/50`, `resnext50_32x4d` and `resnext101_32x8d` have torchvision's parameter names and shapes,
/// `resnet20/32/56` those of the CIFAR networks of He et al. 2016 (section 4.2, option A), so that published
/// weights load. Throws Error for an unknown name or impossible options.
std::shared_ptr<Model> build_model(const std::string& name, const ModelOptions& options = {});

/// Lays every 4-d parameter and buffer out as channels last, in place, optimizers' references stay valid.
/// Call it before the first step, so that gradients and optimizer state get the same strides.
void use_channels_last(torch::nn::Module& module);

/// The number of weights in parameters (buffers such as running means not counted).
int64_t parameter_count(const torch::nn::Module& module);

}  // namespace sparsify
