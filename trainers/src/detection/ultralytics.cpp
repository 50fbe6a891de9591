// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/ultralytics.hpp"

#include "detection/activation_name.hpp"
#include "detection/ultralytics_config.hpp"
#include "detection/ultralytics_models.hpp"
#include "detection/ultralytics_modules.hpp"
#include "sparsify/error.hpp"
#include "sparsify/suggest.hpp"
#include "weights/read_whole.hpp"

namespace sparsify::detection {
namespace {

constexpr std::int64_t kFarthest = 1 << 20;
constexpr std::int64_t kImageSize = 640;

Activation activation_of(const UltralyticsConfig& config, const UltralyticsOptions& options) {
  if (!options.activation.empty()) return activation_by_name(options.activation);
  if (!config.activation) return Activation::kSilu;
  const auto name = config.activation->text();
  try {
    return activation_by_name(name);
  } catch (const Error& error) {
    config.activation->fail(error.what());
  }
}

ModelSettings settings_of(const UltralyticsConfig& config, const UltralyticsOptions& options) {
  if (options.classes < 0)
    throw Error("a detector has at least one class, not " + std::to_string(options.classes));
  ModelSettings settings;
  settings.classes = options.classes > 0 ? options.classes : config.classes;
  settings.depth_multiple = config.depth_multiple;
  settings.width_multiple = config.width_multiple;
  settings.activation = activation_of(config, options);
  settings.anchors = config.anchors;
  return settings;
}

/// Places the blocks of rows, following what each gives.
class YamlBuilder {
 public:
  YamlBuilder(const UltralyticsConfig& config, const UltralyticsOptions& options)
      : settings_(settings_of(config, options)), detector_(std::make_shared<Detector>()) {
    detector_->image_height = detector_->image_width = kImageSize;
    for (const auto& row : config.rows) add(row);
    if (detector_->heads().empty()) {
      const auto& module = config.rows.back().module();
      module.expected("Detect in the last row");
    }
  }

  std::shared_ptr<Detector> detector() const { return detector_; }

 private:
  void add(const ModelRow& row) {
    if (!detector_->heads().empty()) row.place().fail("no row may follow Detect");
    const auto from = sources(row);
    std::vector<Feature> inputs;
    inputs.reserve(from.size());
    for (const auto source : from)
      inputs.push_back(source < 0 ? Feature{} : features_[static_cast<std::size_t>(source)]);
    auto made = make_module(row, settings_, inputs);
    detector_->add(from, std::move(made.block));
    features_.push_back(made.output);
    detector_->largest_stride = larger_stride(detector_->largest_stride, made.output);
  }

  // Negative numbers count back from this row, others from the first; -1 of the first is the image.
  std::vector<std::int64_t> sources(const ModelRow& row) const {
    const auto here = static_cast<std::int64_t>(features_.size());
    std::vector<std::int64_t> sources;
    for (const auto& value : row.from()) {
      const auto from = value.integer(-kFarthest, kFarthest);
      const auto source = from < 0 ? here + from : from;
      const bool is_image = here == 0 && from == -1;
      if (!is_image && (source < 0 || source >= here))
        value.fail("reads row " + std::to_string(from) + ", but only the " + std::to_string(here) +
                   " before this one exist");
      sources.push_back(source);
    }
    return sources;
  }

  const ModelSettings settings_;
  std::shared_ptr<Detector> detector_;
  std::vector<Feature> features_;
};

std::string stem_of_builtin(const std::filesystem::path& name) {
  const bool plain = !name.has_parent_path() && (name.extension() == ".yaml" || name.extension().empty());
  return plain ? name.stem().string() : "";
}

}  // namespace

std::vector<std::string> builtin_ultralytics_models() {
  std::vector<std::string> names;
  for (const auto& [name, text] : ultralytics_models()) names.push_back(name);
  return names;
}

std::shared_ptr<Detector> parse_ultralytics(const std::string& text, const std::string& name,
                                            const UltralyticsOptions& options) {
  return YamlBuilder(parse_ultralytics_config(text, name), options).detector();
}

std::shared_ptr<Detector> build_ultralytics(const std::filesystem::path& file_or_builtin,
                                            const UltralyticsOptions& options) {
  const auto name = file_or_builtin.string();
  if (std::filesystem::is_regular_file(file_or_builtin))
    return parse_ultralytics(weights::read_whole(file_or_builtin), name, options);
  const auto found = ultralytics_models().find(stem_of_builtin(file_or_builtin));
  if (found != ultralytics_models().end()) return parse_ultralytics(found->second, name, options);
  std::vector<std::string> known;
  std::string list;
  for (const auto& each : builtin_ultralytics_models())
    known.push_back(each + ".yaml"), list += (list.empty() ? "" : ", ") + known.back();
  throw Error(name + ": no such file, and the models that come along are " + list + suggestion(name, known));
}

}  // namespace sparsify::detection
