// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/darknet.hpp"

#include <fstream>
#include <sstream>

#include "detection/blocks.hpp"
#include "detection/darknet_config.hpp"
#include "detection/darknet_keys.hpp"
#include "detection/feature.hpp"
#include "detection/head_blocks.hpp"
#include "detection/prediction.hpp"
#include "sparsify/error.hpp"
#include "sparsify/suggest.hpp"

namespace sparsify::detection {
namespace {

Activation activation_of(const DarknetSection& section) {
  static const std::map<std::string, Activation> known = {
      {"linear", Activation::kLinear},    {"relu", Activation::kRelu}, {"leaky", Activation::kLeaky},
      {"swish", Activation::kSilu},       {"silu", Activation::kSilu}, {"mish", Activation::kMish},
      {"logistic", Activation::kLogistic}};
  const auto name = section.text("activation", section.name() == "convolutional" ? "logistic" : "linear");
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [each, value] : known) names.push_back(each);
  section.fail("activation '" + name + "' is not supported" + suggestion(name, names));
}

/// Turns sections into blocks, following what each gives.
class CfgBuilder {
 public:
  CfgBuilder(const std::vector<DarknetSection>& sections, const DarknetOptions& options)
      : options_(options), detector_(std::make_shared<Detector>()) {
    const auto& net = sections.front();
    if (const auto channels = net.integer("channels", image_.channels, 1); channels != image_.channels)
      net.fail_at("channels", "expected 3, as images are in colour, got " + std::to_string(channels));
    detector_->image_height = net.integer("height", 416, 1);
    detector_->image_width = net.integer("width", 416, 1);
    for (std::size_t i = 1; i < sections.size(); ++i) add(sections[i]);
    if (detector_->heads().empty()) net.fail("the network has no [yolo] layer");
  }

  std::shared_ptr<Detector> detector() const { return detector_; }

 private:
  void add(const DarknetSection& section) {
    using Add = void (CfgBuilder::*)(const DarknetSection&);
    static const std::map<std::string, Add> known = {{"convolutional", &CfgBuilder::convolution},
                                                     {"shortcut", &CfgBuilder::shortcut},
                                                     {"route", &CfgBuilder::route},
                                                     {"upsample", &CfgBuilder::upsample},
                                                     {"maxpool", &CfgBuilder::max_pool},
                                                     {"dropout", &CfgBuilder::dropout},
                                                     {"yolo", &CfgBuilder::yolo}};
    const auto found = known.find(section.name());
    if (found != known.end()) return check_keys(section), (this->*found->second)(section);
    std::vector<std::string> names;
    for (const auto& [name, value] : known) names.push_back(name);
    section.fail("layers of this kind are not supported" + suggestion(section.name(), names));
  }

  std::int64_t here() const { return static_cast<std::int64_t>(features_.size()); }
  std::int64_t before() const { return here() - 1; }
  const Feature& feature(std::int64_t layer) const {
    return layer < 0 ? image_ : features_[static_cast<std::size_t>(layer)];
  }
  std::int64_t channels_of(std::int64_t layer) const { return feature(layer).channels; }
  double stride_before() const { return feature(before()).stride; }

  // Negative numbers count back from this layer, others from the first.
  std::int64_t resolve(const DarknetSection& section, std::int64_t layer) const {
    const auto resolved = layer < 0 ? here() + layer : layer;
    if (resolved < 0 || resolved >= here())
      section.fail("reads layer " + std::to_string(layer) + ", but only the " + std::to_string(here()) +
                   " before it exist");
    return resolved;
  }

  void place(std::vector<std::int64_t> from, std::shared_ptr<Block> block, const Feature& output) {
    detector_->add(std::move(from), std::move(block));
    features_.push_back(output);
    detector_->largest_stride = larger_stride(detector_->largest_stride, features_.back());
  }

  void convolution(const DarknetSection& section) {
    ConvOptions conv;
    conv.in = channels_of(before());
    conv.out = section.integer("filters", 1, 1);
    conv.kernel = section.integer("size", 1, 1, 99);
    conv.stride = section.integer("stride", 1, 1, 99);
    conv.groups = section.integer("groups", 1, 1);
    conv.padding = section.integer("pad", 0, 0, 1) ? conv.kernel / 2 : section.integer("padding", 0, 0, 99);
    conv.batch_norm = section.integer("batch_normalize", 0, 0, 1) != 0;
    conv.bn_eps = options_.bn_eps;
    conv.activation = activation_of(section);
    if (conv.in % conv.groups != 0 || conv.out % conv.groups != 0)
      section.fail("groups=" + std::to_string(conv.groups) + " divides not both " + std::to_string(conv.in) +
                   " channels and " + std::to_string(conv.out) + " filters");
    place({before()}, std::make_shared<ConvBlock>(conv),
          {conv.out, stride_before() * static_cast<double>(conv.stride)});
  }

  void shortcut(const DarknetSection& section) {
    std::vector<std::int64_t> from = {before()};
    for (const auto layer : section.integers("from")) from.push_back(resolve(section, layer));
    if (from.size() < 2) section.fail("'from' is missing");
    for (const auto source : from)
      if (channels_of(source) != channels_of(before()))
        section.fail("adds layers of " + std::to_string(channels_of(before())) + " and " +
                     std::to_string(channels_of(source)) + " channels, which is not supported");
    place(from, std::make_shared<SumBlock>(activation_of(section)), feature(before()));
  }

  void route(const DarknetSection& section) {
    std::vector<std::int64_t> from;
    for (const auto layer : section.integers("layers")) from.push_back(resolve(section, layer));
    if (from.empty()) section.fail("'layers' is missing");
    const auto groups = section.integer("groups", 1, 1),
               group = section.integer("group_id", 0, 0, groups - 1);
    std::int64_t channels = 0;
    for (const auto source : from) {
      if (channels_of(source) % groups != 0)
        section.fail(std::to_string(channels_of(source)) + " channels cannot be divided into " +
                     std::to_string(groups) + " groups");
      channels += channels_of(source) / groups;
    }
    place(from, std::make_shared<RouteBlock>(groups, group), {channels, feature(from.front()).stride});
  }

  void upsample(const DarknetSection& section) {
    const auto factor = section.integer("stride", 2, 1, 64);
    place({before()}, std::make_shared<UpsampleBlock>(factor),
          {channels_of(before()), stride_before() / static_cast<double>(factor)});
  }

  void max_pool(const DarknetSection& section) {
    const auto stride = section.integer("stride", 1, 1, 99);
    place({before()}, std::make_shared<MaxPoolBlock>(section.integer("size", stride, 1, 99), stride),
          {channels_of(before()), stride_before() * static_cast<double>(stride)});
  }

  void dropout(const DarknetSection& section) {
    place({before()}, std::make_shared<DropoutBlock>(section.number("probability", 0.5)), feature(before()));
  }

  void yolo(const DarknetSection& section) {
    DetectionHead head;
    head.classes = section.integer("classes", 20, 1);
    head.scale_xy = section.number("scale_x_y", 1);
    if (section.integer("new_coords", 0, 0, 1) != 0) section.fail("new_coords=1 is not supported");
    const auto anchors = section.numbers("anchors");
    auto mask = section.integers("mask");
    if (anchors.size() % 2 != 0 || anchors.empty())
      section.fail("'anchors' must be pairs of width and height");
    if (mask.empty())
      for (std::size_t i = 0; i < anchors.size() / 2; ++i) mask.push_back(static_cast<std::int64_t>(i));
    for (const auto index : mask) {
      if (index < 0 || index >= static_cast<std::int64_t>(anchors.size() / 2))
        section.fail("mask " + std::to_string(index) + ": there are " + std::to_string(anchors.size() / 2) +
                     " anchors");
      const auto at = static_cast<std::size_t>(2 * index);
      head.anchors.emplace_back(anchors[at], anchors[at + 1]);
    }
    head.stride = stride_before();
    const auto expected = map_channels(head);
    if (channels_of(before()) != expected)
      section.fail("reads " + std::to_string(channels_of(before())) + " channels; " +
                   std::to_string(head.anchors.size()) + " anchors of " + std::to_string(head.classes) +
                   " classes take " + std::to_string(expected) + " (filters of the layer before)");
    const auto source = before();
    const auto block = source < 0 ? nullptr : detector_->blocks()[static_cast<std::size_t>(source)];
    place({source}, std::make_shared<YoloBlock>(std::move(head), block), feature(source));
  }

  const DarknetOptions options_;
  std::shared_ptr<Detector> detector_;
  const Feature image_{};
  std::vector<Feature> features_;
};

}  // namespace

std::shared_ptr<Detector> parse_darknet(const std::string& config, const std::string& name,
                                        const DarknetOptions& options) {
  return CfgBuilder(parse_darknet_config(config, name), options).detector();
}

std::shared_ptr<Detector> build_darknet(const std::filesystem::path& config, const DarknetOptions& options) {
  std::ifstream file(config);
  if (!file) throw Error(config.string() + ": cannot be read");
  std::ostringstream text;
  text << file.rdbuf();
  return parse_darknet(text.str(), config.string(), options);
}

}  // namespace sparsify::detection
