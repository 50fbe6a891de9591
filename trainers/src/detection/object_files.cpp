// SPDX-License-Identifier: Apache-2.0
#include "detection/object_files.hpp"

#include <algorithm>
#include <tuple>

#include "detection/upright.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/data_error.hpp"

namespace sparsify::detection {
namespace {

constexpr std::size_t kMostShown = 20;
constexpr float kWorthTelling = 1;  // pixel: less is rounding of whoever wrote the labels

class ObjectFiles : public DetectionDataset {
 public:
  ObjectFiles(std::vector<std::string> class_names, ObjectSplit split)
      : DetectionDataset(std::move(class_names)), split_(std::move(split)) {}

  std::int64_t size() const override { return static_cast<std::int64_t>(split_.files.size()); }
  ImageSize image_size(std::int64_t index) const override { return at(index).size; }
  trainers::Image image(std::int64_t index, std::int64_t at_least) const override {
    try {
      const auto& file = at(index);
      return upright(trainers::load_image(file.image.string(), at_least), file.orientation);
    } catch (const Error& error) {
      throw trainers::DataError(error.what());
    }
  }
  const std::vector<GroundTruth>& objects(std::int64_t index) const override { return at(index).objects; }
  std::string describe(std::int64_t index) const override { return at(index).image.string(); }
  std::optional<std::int64_t> image_id(std::int64_t index) const override { return at(index).id; }
  std::int64_t category_id(std::int64_t label) const override {
    return split_.category_ids.empty() ? label : split_.category_ids.at(static_cast<std::size_t>(label));
  }

 private:
  const ObjectFile& at(std::int64_t index) const { return split_.files.at(static_cast<std::size_t>(index)); }

  ObjectSplit split_;
};

auto key(const GroundTruth& object) {
  return std::tuple(object.label, object.x1, object.y1, object.x2, object.y2);
}

}  // namespace

void LabelReport::raise(const std::string& set) const {
  if (errors.empty()) return;
  std::string text = set + ": cannot be used";
  for (std::size_t i = 0; i < std::min(errors.size(), kMostShown); ++i) text += "\n  " + errors[i];
  if (errors.size() > kMostShown) text += "\n  and " + std::to_string(errors.size() - kMostShown) + " more";
  throw Error(text);
}

void check_claimed_size(const std::string& where, const ImageSize& claimed, const ImageSize& size,
                        LabelReport& report) {
  if (claimed.width == size.width && claimed.height == size.height) return;
  const auto shown = [](const ImageSize& of) {
    return std::to_string(of.width) + " x " + std::to_string(of.height);
  };
  report.findings.push_back({where, "says " + shown(claimed) + " pixels, the image has " + shown(size)});
}

std::vector<GroundTruth> cleaned(const std::vector<GroundTruth>& objects, const ImageSize& size,
                                 const std::function<std::string(std::size_t)>& where, LabelReport& report) {
  const auto width = static_cast<float>(size.width), height = static_cast<float>(size.height);
  std::vector<GroundTruth> kept;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const auto& object = objects[i];
    const GroundTruth box{std::clamp(object.x1, 0.F, width), std::clamp(object.y1, 0.F, height),
                          std::clamp(object.x2, 0.F, width), std::clamp(object.y2, 0.F, height),
                          object.label};
    const float outside =
        std::max({box.x1 - object.x1, box.y1 - object.y1, object.x2 - box.x2, object.y2 - box.y2});
    if (box.x2 <= box.x1 || box.y2 <= box.y1) {
      report.findings.push_back({where(i), "an empty box, or one outside the image: left out"});
    } else if (std::any_of(kept.begin(), kept.end(),
                           [&](const GroundTruth& other) { return key(other) == key(box); })) {
      report.findings.push_back({where(i), "a box that is there twice: counted once"});
    } else {
      if (outside > kWorthTelling)
        report.findings.push_back({where(i), "a box reaches outside the image: clipped"});
      kept.push_back(box);
    }
  }
  return kept;
}

std::shared_ptr<const DetectionDataset> make_dataset(std::vector<std::string> class_names,
                                                     ObjectSplit split) {
  return std::make_shared<ObjectFiles>(std::move(class_names), std::move(split));
}

}  // namespace sparsify::detection
