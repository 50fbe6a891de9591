// SPDX-License-Identifier: Apache-2.0
#include "yolov3.hpp"

#include <torch/torch.h>

namespace sparsify::bench {
namespace {

namespace nn = torch::nn;

// Convolution, batch norm, LeakyReLU.
struct ConvImpl : nn::Module {
  ConvImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1)
      : conv(register_module(
            "conv",
            nn::Conv2d(nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false)))),
        norm(register_module("bn", nn::BatchNorm2d(out))) {}
  torch::Tensor forward(const torch::Tensor& x) {
    auto y = norm(conv(x));
    return torch::leaky_relu_(y, 0.1);
  }
  nn::Conv2d conv;
  nn::BatchNorm2d norm;
};
TORCH_MODULE(Conv);

struct BottleneckImpl : nn::Module {
  BottleneckImpl(int64_t in, int64_t out, bool shortcut)
      : reduce(register_module("cv1", Conv(in, out / 2, 1))),
        expand(register_module("cv2", Conv(out / 2, out, 3))),
        shortcut(shortcut) {}
  torch::Tensor forward(const torch::Tensor& x) {
    const auto y = expand(reduce(x));
    return shortcut ? x + y : y;
  }
  Conv reduce, expand;
  bool shortcut;
};
TORCH_MODULE(Bottleneck);

// A convolution that halves the map, and residual blocks.
nn::Sequential stage(int64_t channels, int64_t blocks) {
  nn::Sequential modules(Conv(channels / 2, channels, 3, 2));
  for (int64_t i = 0; i < blocks; ++i) modules->push_back(Bottleneck(channels, channels, true));
  return modules;
}

torch::Tensor enlarged(const torch::Tensor& x) {
  return torch::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
}

struct YoloV3 : Model {
  YoloV3() {
    const auto add = [&](const char* name, nn::Sequential& part, nn::Sequential modules) {
      part = register_module(name, std::move(modules));
    };
    nn::Sequential first(Conv(3, 32, 3));
    first->extend(*stage(64, 1)), first->extend(*stage(128, 2)), first->extend(*stage(256, 8));
    add("to_p3", to_p3, first);
    add("to_p4", to_p4, stage(512, 8));
    nn::Sequential last = stage(1024, 4);
    last->push_back(Bottleneck(1024, 1024, false));
    last->push_back(Conv(1024, 512, 1)), last->push_back(Conv(512, 1024, 3));
    last->push_back(Conv(1024, 512, 1));
    add("to_p5", to_p5, last);
    add("neck4", neck4,
        nn::Sequential(Bottleneck(768, 512, false), Bottleneck(512, 512, false), Conv(512, 256, 1)));
    add("neck3", neck3,
        nn::Sequential(Bottleneck(384, 256, false), Bottleneck(256, 256, false),
                       Bottleneck(256, 256, false)));
    add("head5", head5, nn::Sequential(Conv(512, 1024, 3), detect(1024)));
    add("head4", head4, nn::Sequential(Conv(256, 512, 3), detect(512)));
    add("head3", head3, nn::Sequential(detect(256)));
    up5 = register_module("up5", Conv(512, 256, 1));
    up4 = register_module("up4", Conv(256, 128, 1));
  }

  static nn::Conv2d detect(int64_t channels) { return nn::Conv2d(nn::Conv2dOptions(channels, 3 * 85, 1)); }

  torch::Tensor forward(torch::Tensor images) override {
    const auto p3 = to_p3->forward(images), p4 = to_p4->forward(p3), p5 = to_p5->forward(p4);
    const auto middle = neck4->forward(torch::cat({enlarged(up5(p5)), p4}, 1));
    const auto fine = neck3->forward(torch::cat({enlarged(up4(middle)), p3}, 1));
    std::vector<torch::Tensor> boxes;
    for (const auto& map : {head3->forward(fine), head4->forward(middle), head5->forward(p5)})
      boxes.push_back(map.unflatten(1, {3, 85}).transpose(1, 2).flatten(2));
    return torch::cat(boxes, 2);
  }

  nn::Sequential to_p3{nullptr}, to_p4{nullptr}, to_p5{nullptr}, neck4{nullptr}, neck3{nullptr},
      head5{nullptr}, head4{nullptr}, head3{nullptr};
  Conv up5{nullptr}, up4{nullptr};
};

}  // namespace

std::shared_ptr<Model> make_yolov3() { return std::make_shared<YoloV3>(); }

}  // namespace sparsify::bench
