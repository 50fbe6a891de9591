// SPDX-License-Identifier: Apache-2.0
#include "detection/prediction.hpp"

#include <cmath>

namespace sparsify::detection {
namespace {

void resize_first(torch::Tensor& parameter, std::int64_t size) {
  auto sizes = parameter.sizes().vec();
  sizes[0] = size;
  parameter.mutable_grad().reset();
  parameter.set_data(torch::empty(sizes, parameter.options().requires_grad(false)));
}

double objectness_prior(double stride) { return std::log(8 / std::pow(640 / stride, 2)); }

double class_prior(std::int64_t classes) { return std::log(0.6 / (static_cast<double>(classes) - 0.99999)); }

}  // namespace

std::int64_t map_channels(const DetectionHead& head) {
  return static_cast<std::int64_t>(head.anchors.size()) * (5 + head.classes);
}

void initialise_prediction(torch::nn::Conv2dImpl& convolution, const DetectionHead& head) {
  const auto channels = map_channels(head);
  convolution.options.out_channels(channels);
  resize_first(convolution.weight, channels);
  resize_first(convolution.bias, channels);
  convolution.reset_parameters();
  auto biases = convolution.bias.detach().view({-1, 5 + head.classes});
  biases.select(1, 4) += objectness_prior(head.stride);
  biases.narrow(1, 5, head.classes) += class_prior(head.classes);
}

}  // namespace sparsify::detection
