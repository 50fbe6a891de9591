// SPDX-License-Identifier: Apache-2.0
#include "detection/ultralytics_modules.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "detection/head_blocks.hpp"
#include "detection/ultralytics_blocks.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify::detection {
namespace {

using Inputs = std::vector<Feature>;

constexpr std::int64_t kMostChannels = 1 << 16, kLargestKernel = 99;

std::string shown(double stride) {
  char buffer[32];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, stride).ptr};
}

// As many as a head's map has are meant literally.
std::int64_t scaled_channels(const ModelRow& row, const ModelSettings& settings) {
  const auto given = row.needed_argument(0, "channels").integer(1, kMostChannels);
  const auto of_map = static_cast<std::int64_t>(settings.anchors.front().size()) * (5 + settings.classes);
  if (given == of_map) return given;
  const auto eighths = std::ceil(static_cast<double>(given) * settings.width_multiple / 8);
  return 8 * std::max<std::int64_t>(1, static_cast<std::int64_t>(eighths));
}

ConvOptions conv_options(std::int64_t in, std::int64_t out, std::int64_t kernel, Activation activation) {
  ConvOptions options;
  options.in = in, options.out = out, options.kernel = kernel, options.padding = kernel / 2;
  options.bn_eps = 1e-3, options.bn_momentum = 0.03;
  options.activation = activation;
  return options;
}

std::int64_t groups(const ModelRow& row, std::size_t index, std::int64_t in, std::int64_t out) {
  const auto groups = row.integer(index, "groups", 1, 1, kMostChannels);
  if (in % groups != 0 || out % groups != 0)
    row.argument(index, "groups")
        ->fail(std::to_string(groups) + " groups do not divide both " + std::to_string(in) + " and " +
               std::to_string(out) + " channels");
  return groups;
}

Made convolution(const ModelRow& row, const ModelSettings& settings, const Inputs& inputs) {
  row.check_arguments({"channels", "kernel", "stride", "padding", "groups", "activation"});
  const auto& input = inputs.front();
  auto options = conv_options(input.channels, scaled_channels(row, settings),
                              row.integer(1, "kernel", 1, 1, kLargestKernel), settings.activation);
  options.stride = row.integer(2, "stride", 1, 1, kLargestKernel);
  options.padding = row.integer(3, "padding", options.padding, 0, kLargestKernel);
  options.groups = groups(row, 4, options.in, options.out);
  if (const auto activation = row.argument(5, "activation"); activation && !activation->flag())
    options.activation = Activation::kLinear;
  return {std::make_shared<ConvBlock>(options),
          {options.out, input.stride * static_cast<double>(options.stride)}};
}

Made bottleneck(const ModelRow& row, const ModelSettings& settings, const Inputs& inputs) {
  row.check_arguments({"channels", "shortcut", "groups", "expansion"});
  const auto& input = inputs.front();
  const auto out = scaled_channels(row, settings);
  const auto shortcut = row.argument(1, "shortcut");
  const auto expansion = row.argument(3, "expansion");
  const auto hidden =
      static_cast<std::int64_t>(static_cast<double>(out) * (expansion ? expansion->number(0.01, 16) : 0.5));
  if (hidden < 1) expansion->fail("leaves no channels of " + std::to_string(out));
  const auto first = conv_options(input.channels, hidden, 1, settings.activation);
  auto second = conv_options(hidden, out, 3, settings.activation);
  second.groups = groups(row, 2, hidden, out);
  const bool add_input = (!shortcut || shortcut->flag()) && input.channels == out;
  return {std::make_shared<BottleneckBlock>(first, second, add_input), {out, input.stride}};
}

Made spp(const ModelRow& row, const ModelSettings& settings, const Inputs& inputs) {
  row.check_arguments({"channels", "sizes"});
  const auto& input = inputs.front();
  std::vector<std::int64_t> sizes;
  if (const auto given = row.argument(1, "sizes")) {
    for (const auto& size : given->items()) {
      sizes.push_back(size.integer(1, kLargestKernel));
      if (sizes.back() % 2 == 0) size.expected("an odd number");
    }
  } else {
    sizes = {5, 9, 13};
  }
  const auto hidden = input.channels / 2, out = scaled_channels(row, settings);
  if (hidden < 1) row.place().fail("SPP halves its input, which has one channel");
  const auto parts = static_cast<std::int64_t>(1 + sizes.size());
  return {std::make_shared<SppBlock>(conv_options(input.channels, hidden, 1, settings.activation),
                                     conv_options(hidden * parts, out, 1, settings.activation), sizes),
          {out, input.stride}};
}

Made concat(const ModelRow& row, const ModelSettings&, const Inputs& inputs) {
  row.check_arguments({"dimension"});
  row.integer(0, "dimension", 1, 1, 1);
  Feature output{0, inputs.front().stride};
  for (const auto& input : inputs) {
    if (input.stride != output.stride)
      row.place().fail("Concat reads maps of different sizes, of strides " + shown(output.stride) + " and " +
                       shown(input.stride));
    output.channels += input.channels;
  }
  return {std::make_shared<RouteBlock>(1, 0), output};
}

Made upsample(const ModelRow& row, const ModelSettings&, const Inputs& inputs) {
  row.check_arguments({"size", "factor", "mode"});
  if (const auto size = row.argument(0, "size")) size->expected("None");
  const auto factor = row.needed_argument(1, "factor").integer(1, 64);
  if (const auto mode = row.argument(2, "mode"); mode && !mode->is_text("nearest"))
    mode->expected("'nearest'");
  const auto& input = inputs.front();
  return {std::make_shared<UpsampleBlock>(factor),
          {input.channels, input.stride / static_cast<double>(factor)}};
}

Made max_pool(const ModelRow& row, const ModelSettings&, const Inputs& inputs) {
  row.check_arguments({"size", "stride", "padding"});
  const auto size = row.needed_argument(0, "size").integer(1, kLargestKernel);
  const auto stride = row.integer(1, "stride", size, 1, kLargestKernel);
  const auto padding = row.integer(2, "padding", 0, 0, size / 2);
  const auto& input = inputs.front();
  return {std::make_shared<PaddedMaxPoolBlock>(size, stride, padding),
          {input.channels, input.stride * static_cast<double>(stride)}};
}

Made zero_pad(const ModelRow& row, const ModelSettings&, const Inputs& inputs) {
  row.check_arguments({"padding"});
  const auto padding = row.needed_argument(0, "padding");
  const auto values = padding.is_list() ? padding.items() : std::vector<YamlValue>(4, padding);
  if (values.size() != 4) padding.expected("[left, right, top, bottom]");
  std::array<std::int64_t, 4> sides{};
  for (std::size_t i = 0; i < 4; ++i) sides[i] = values[i].integer(0, kLargestKernel);
  return {std::make_shared<ZeroPadBlock>(sides), inputs.front()};
}

void check_order(const ModelRow& row, const std::vector<DetectionHead>& heads) {
  const auto area = [](const DetectionHead& head) {
    double sum = 0;
    for (const auto& [width, height] : head.anchors) sum += width * height;
    return sum;
  };
  for (std::size_t i = 1; i < heads.size(); ++i)
    if ((area(heads[i]) - area(heads[i - 1])) * (heads[i].stride - heads[i - 1].stride) < 0)
      row.place().fail(
          "anchors are not in the order of the rows that Detect reads: finer maps take smaller ones");
}

Made detect(const ModelRow& row, const ModelSettings& settings, const Inputs& inputs) {
  row.check_arguments({"nc", "anchors"});
  for (const auto& [index, word] : {std::pair{0, "nc"}, {1, "anchors"}})
    if (const auto value = row.needed_argument(static_cast<std::size_t>(index), word); !value.is_text(word))
      value.expected(std::string("'") + word + "'");
  if (settings.anchors.size() != inputs.size())
    row.place().fail("Detect reads " + std::to_string(inputs.size()) + " rows, but there are anchors for " +
                     std::to_string(settings.anchors.size()));
  std::vector<DetectionHead> heads;
  std::vector<std::int64_t> widths;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    heads.push_back({settings.anchors[i], settings.classes, BoxCoding::kUltralytics, 1, inputs[i].stride});
    widths.push_back(inputs[i].channels);
  }
  check_order(row, heads);
  return {std::make_shared<DetectBlock>(std::move(heads), widths), {}};
}

struct Module {
  Made (*make)(const ModelRow&, const ModelSettings&, const Inputs&);
  bool reads_several = false;
};

const Module& module_of(const ModelRow& row) {
  static const std::map<std::string, Module> known = {
      {"Conv", {convolution}},      {"Bottleneck", {bottleneck}}, {"SPP", {spp}},
      {"Concat", {concat, true}},   {"nn.Upsample", {upsample}},  {"nn.MaxPool2d", {max_pool}},
      {"nn.ZeroPad2d", {zero_pad}}, {"Detect", {detect, true}}};
  const auto name = row.module().text();
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::vector<std::string> names;
  std::string list;
  for (const auto& [each, module] : known) names.push_back(each), list += (list.empty() ? "" : ", ") + each;
  row.module().expected("one of " + list, suggestion(name, names));
}

// Python rounds halves to even numbers, and so does nearbyint.
std::int64_t repeats(const ModelRow& row, double depth_multiple) {
  if (row.number() == 1) return 1;
  const auto scaled = std::nearbyint(static_cast<double>(row.number()) * depth_multiple);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(scaled));
}

}  // namespace

Made make_module(const ModelRow& row, const ModelSettings& settings, const std::vector<Feature>& inputs) {
  const auto& module = module_of(row);
  if (!module.reads_several && inputs.size() != 1)
    row.place().fail(row.module().text() + " reads one row, got " + std::to_string(inputs.size()));
  const auto number = repeats(row, settings.depth_multiple);
  if (module.reads_several && number != 1) row.place().fail(row.module().text() + " cannot be repeated");
  auto made = module.make(row, settings, inputs);
  if (number == 1) return made;
  std::vector<std::shared_ptr<Block>> chain = {made.block};
  while (static_cast<std::int64_t>(chain.size()) < number) {
    made = module.make(row, settings, {made.output});
    chain.push_back(made.block);
  }
  return {std::make_shared<ChainBlock>(std::move(chain)), made.output};
}

}  // namespace sparsify::detection
