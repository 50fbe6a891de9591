// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include "models/linear.hpp"
#include "models/resnet.hpp"
#include "sparsify/error.hpp"
#include "sparsify/suggest.hpp"
#include "sparsify/trainers/model.hpp"

namespace sparsify {
namespace {

using models::Block;
using models::ResNetSpec;
using models::Shortcut;
using models::Stem;

struct Entry {
  ModelInfo info;
  std::function<std::shared_ptr<Model>(const ModelOptions&)> build;
};

Entry resnet(const char* name, int64_t image_size, const char* description, const ResNetSpec& spec) {
  auto build = [spec](const ModelOptions& options) {
    return std::make_shared<models::ResNet>(spec, options);
  };
  return {{name, image_size, description}, build};
}

Entry imagenet(const char* name, const char* description, Block block, std::vector<int64_t> blocks,
               int64_t groups = 1, int64_t width_per_group = 64) {
  ResNetSpec spec;
  spec.block = block;
  spec.blocks = std::move(blocks);
  spec.groups = groups;
  spec.width_per_group = width_per_group;
  return resnet(name, 224, description, spec);
}

// He et al. 2016, section 4.2: 6n + 2 layers, option-A shortcuts.
Entry cifar_resnet(const char* name, int64_t n) {
  ResNetSpec spec;
  spec.stem = Stem::kCifar;
  spec.stem_channels = 16;
  spec.shortcut = Shortcut::kZeroPad;
  spec.planes = {16, 32, 64};
  spec.blocks = {n, n, n};
  spec.strides = {1, 2, 2};
  spec.classifier = "linear";
  return resnet(name, 32, "CIFAR ResNet of He et al. 2016, option-A shortcuts", spec);
}

Entry resnet_small() {
  ResNetSpec spec;
  spec.stem = Stem::kCifar;
  spec.stem_channels = 32;
  spec.planes = {64, 128, 256};
  spec.blocks = {1, 1, 1};
  spec.strides = {2, 2, 2};
  return resnet("resnet8_cifar", 32, "ResNet-8 for 32-pixel images, 64 to 256 channels, trains in minutes",
                spec);
}

// A sixth of resnet20's time for four times its weights, most of them in the last stage: made for trying
// recipes out.
Entry resnet_quick() {
  ResNetSpec spec;
  spec.stem = Stem::kCifar;
  spec.stem_channels = 32;
  spec.planes = {32, 64, 128, 448};
  spec.blocks = {1, 1, 1, 1};
  spec.strides = {2, 2, 2, 2};
  return resnet("resnet10_cifar", 32, "ResNet-10 for 32-pixel images, 32 to 448 channels, trains in minutes",
                spec);
}

Entry resnext_small() {
  ResNetSpec spec;
  spec.block = Block::kBottleneck;
  spec.stem = Stem::kCifar;
  spec.stem_channels = 32;
  spec.planes = {64, 128, 256};
  spec.blocks = {1, 2, 1};
  spec.strides = {2, 2, 2};
  spec.groups = 4;
  spec.width_per_group = 16;
  spec.expansion = 2;
  return resnet("resnext14_4x16d", 32, "ResNeXt-14 for 32-pixel images, 4 groups, trains in minutes", spec);
}

Entry linear() {
  auto build = [](const ModelOptions& options) {
    const int64_t size = options.image_size > 0 ? options.image_size : 32;
    return std::make_shared<models::LinearClassifier>(size, options);
  };
  return {{"linear", 32, "one linear layer on the pixels"}, build};
}

const std::vector<Entry>& zoo() {
  static const std::vector<Entry> entries = {
      imagenet("resnet18", "torchvision ResNet-18", Block::kBasic, {2, 2, 2, 2}),
      imagenet("resnet34", "torchvision ResNet-34", Block::kBasic, {3, 4, 6, 3}),
      imagenet("resnet50", "torchvision ResNet-50", Block::kBottleneck, {3, 4, 6, 3}),
      imagenet("resnext50_32x4d", "torchvision ResNeXt-50", Block::kBottleneck, {3, 4, 6, 3}, 32, 4),
      imagenet("resnext101_32x8d", "torchvision ResNeXt-101", Block::kBottleneck, {3, 4, 23, 3}, 32, 8),
      cifar_resnet("resnet20", 3),
      cifar_resnet("resnet32", 5),
      cifar_resnet("resnet56", 9),
      resnet_small(),
      resnet_quick(),
      resnext_small(),
      linear(),
  };
  return entries;
}

[[noreturn]] void report_unknown(const std::string& name) {
  std::string list;
  for (const auto& known : model_names()) list += (list.empty() ? "" : ", ") + known;
  const auto hint = suggestion(name, model_names());
  throw Error("model '" + name + "' is not known" + (hint.empty() ? "." : hint) + " Known are " + list);
}

const Entry& find(const std::string& name) {
  for (const auto& entry : zoo()) {
    if (entry.info.name == name) return entry;
  }
  report_unknown(name);
}

void require_at_least(const std::string& what, int64_t value, int64_t least) {
  if (value >= least) return;
  throw Error(what + " is " + std::to_string(value) + ", expected at least " + std::to_string(least));
}

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& entry : zoo()) names.push_back(entry.info.name);
  return names;
}

ModelInfo model_info(const std::string& name) { return find(name).info; }

std::shared_ptr<Model> build_model(const std::string& name, const ModelOptions& options) {
  const auto& entry = find(name);
  require_at_least(name + ": num_classes", options.num_classes, 1);
  require_at_least(name + ": in_channels", options.in_channels, 1);
  require_at_least(name + ": image_size", options.image_size, 0);
  return entry.build(options);
}

}  // namespace sparsify
