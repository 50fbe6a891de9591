// SPDX-License-Identifier: Apache-2.0
#include "sparsify/detection/loader.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <numeric>

#include "data/ordered_work.hpp"
#include "detection/augment.hpp"
#include "sparsify/error.hpp"
#include "sparsify/trainers/counter_rng.hpp"

namespace sparsify::detection {
namespace {

using trainers::CounterRng;

// Keep the streams that order an epoch and size its batches apart from those of its images.
constexpr std::uint64_t kOrderStream = ~std::uint64_t{0}, kSizeStream = kOrderStream - 1;

void require(bool condition, const std::string& message) {
  if (!condition) throw Error("detection loader: " + message);
}

DetectionLoaderOptions checked(const DetectionLoaderOptions& options) {
  const auto at_least_1 = [](const char* name, std::int64_t value) {
    require(value >= 1, std::string(name) + ": expected at least 1, got " + std::to_string(value));
  };
  at_least_1("batch_size", options.batch_size);
  at_least_1("stride", options.stride);
  at_least_1("image_size", options.image_size);
  at_least_1("prefetch", options.prefetch);
  require(options.image_size % options.stride == 0, "image_size: expected a multiple of the stride " +
                                                        std::to_string(options.stride) + ", got " +
                                                        std::to_string(options.image_size));
  require(options.workers >= 0, "workers: expected 0 or more, got " + std::to_string(options.workers));
  require(options.multi_scale >= 0 && options.multi_scale < 1,
          "multi_scale: expected 0 to below 1, got " + std::to_string(options.multi_scale));
  require(!options.rectangular || (!options.augment && !options.shuffle && options.multi_scale == 0),
          "rectangular: not together with augment, shuffle or multi_scale");
  return options;
}

// One row of DetectionBatch::targets for each object, in pixels of a height x width input.
void add_targets(const std::vector<GroundTruth>& objects, std::int64_t image, double height, double width,
                 std::vector<float>& rows) {
  for (const auto& object : objects) {
    rows.push_back(static_cast<float>(image));
    rows.push_back(static_cast<float>(object.label));
    rows.push_back(static_cast<float>((object.x1 + object.x2) / 2 / width));
    rows.push_back(static_cast<float>((object.y1 + object.y2) / 2 / height));
    rows.push_back(static_cast<float>((object.x2 - object.x1) / width));
    rows.push_back(static_cast<float>((object.y2 - object.y1) / height));
  }
}

std::vector<GroundTruth> placed(std::vector<GroundTruth> objects, const Placement& placement) {
  for (auto& object : objects) {
    object.x1 = static_cast<float>(object.x1 * placement.scale_x + placement.left);
    object.x2 = static_cast<float>(object.x2 * placement.scale_x + placement.left);
    object.y1 = static_cast<float>(object.y1 * placement.scale_y + placement.top);
    object.y2 = static_cast<float>(object.y2 * placement.scale_y + placement.top);
  }
  return objects;
}

}  // namespace

class DetectionLoader::Impl {
 public:
  Impl(std::shared_ptr<const DetectionDataset> dataset, const DetectionLoaderOptions& options)
      : options_(checked(options)),
        dataset_(std::move(dataset)),
        work_(options_.workers, options_.prefetch,
              [this](std::int64_t epoch, std::int64_t number) { return make(epoch, number); }) {
    require(dataset_ != nullptr && dataset_->size() > 0, "the data set is empty");
    by_shape_ = sorted_by_shape();
  }

  std::int64_t steps_per_epoch() const {
    const auto size = dataset_->size(), batch = options_.batch_size;
    return options_.drop_last ? size / batch : (size + batch - 1) / batch;
  }

  void start_epoch(std::int64_t epoch, std::int64_t first_batch) {
    require(first_batch >= 0 && first_batch <= steps_per_epoch(), "first_batch: expected 0 to " +
                                                                      std::to_string(steps_per_epoch()) +
                                                                      ", got " + std::to_string(first_batch));
    work_.start(epoch, first_batch, steps_per_epoch());
  }

  std::optional<DetectionBatch> next() { return work_.take(); }

 private:
  std::vector<std::int64_t> sorted_by_shape() const {
    std::vector<std::int64_t> order(static_cast<std::size_t>(dataset_->size()));
    std::iota(order.begin(), order.end(), std::int64_t{0});
    if (!options_.rectangular) return order;
    const auto shape = [&](std::int64_t index) {
      const auto size = dataset_->image_size(index);
      return static_cast<double>(size.height) / static_cast<double>(size.width);
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int64_t a, std::int64_t b) { return shape(a) < shape(b); });
    return order;
  }

  using Order = std::vector<std::int64_t>;

  // Made once for all batches of an epoch.
  std::shared_ptr<const Order> order_of(std::int64_t epoch) const {
    const std::lock_guard lock(order_mutex_);
    if (!order_ || order_epoch_ != epoch) {
      order_ = std::make_shared<const Order>(shuffled(epoch));
      order_epoch_ = epoch;
    }
    return order_;
  }

  Order shuffled(std::int64_t epoch) const {
    auto order = by_shape_;
    if (!options_.shuffle) return order;
    CounterRng rng(options_.seed, static_cast<std::uint64_t>(epoch), kOrderStream);
    for (std::size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(i + 1)))]);
    return order;
  }

  std::vector<std::int64_t> indices_of(std::int64_t epoch, std::int64_t number) const {
    const auto order = order_of(epoch);
    const auto begin = order->begin() + number * options_.batch_size;
    const auto left = dataset_->size() - number * options_.batch_size;
    return {begin, begin + std::min(options_.batch_size, left)};
  }

  std::int64_t rounded_up(double pixels) const {
    const auto stride = static_cast<double>(options_.stride);
    return std::max(options_.stride, static_cast<std::int64_t>(std::ceil(pixels / stride)) * options_.stride);
  }

  // Any multiple of the stride in reach, all equally likely.
  std::int64_t drawn_side(std::int64_t epoch, std::int64_t number) const {
    const auto strides = static_cast<double>(options_.image_size / options_.stride);
    constexpr double kRounding = 1e-9;  // ends that are multiples themselves belong to the range
    const auto least = static_cast<std::int64_t>(std::ceil(strides * (1 - options_.multi_scale) - kRounding));
    const auto most = static_cast<std::int64_t>(std::floor(strides * (1 + options_.multi_scale) + kRounding));
    CounterRng rng(options_.seed, static_cast<std::uint64_t>(epoch),
                   kSizeStream - static_cast<std::uint64_t>(number));
    const auto smallest = std::max<std::int64_t>(1, least);
    return (smallest + rng.below(most - smallest + 1)) * options_.stride;
  }

  // Of the input of a batch: as little as its images need, or a square.
  ImageSize shape_of(std::int64_t epoch, std::int64_t number,
                     const std::vector<std::int64_t>& indices) const {
    const auto side = static_cast<double>(options_.image_size);
    if (options_.multi_scale > 0) {
      const auto drawn = drawn_side(epoch, number);
      return {drawn, drawn};
    }
    if (!options_.rectangular) return {options_.image_size, options_.image_size};
    double height = 0, width = 0;
    for (const auto index : indices) {
      const auto size = dataset_->image_size(index);
      const double scale = side / static_cast<double>(std::max(size.height, size.width));
      height = std::max(height, std::round(static_cast<double>(size.height) * scale));
      width = std::max(width, std::round(static_cast<double>(size.width) * scale));
    }
    return {rounded_up(height), rounded_up(width)};
  }

  DetectionBatch make(std::int64_t epoch, std::int64_t number) const {
    DetectionBatch batch;
    batch.indices = indices_of(epoch, number);
    const auto shape = shape_of(epoch, number, batch.indices);
    const auto count = static_cast<std::int64_t>(batch.indices.size());
    batch.images = torch::empty({count, 3, shape.height, shape.width}, torch::MemoryFormat::ChannelsLast);
    std::vector<float> targets;
    for (std::int64_t i = 0; i < count; ++i) {
      auto* pixels = batch.images.data_ptr<float>() + i * shape.height * shape.width * 3;
      const auto index = batch.indices[static_cast<std::size_t>(i)];
      options_.augment ? add_augmented(batch, epoch, index, i, shape.height, pixels, targets)
                       : add_plain(batch, index, i, shape, pixels, targets);
    }
    batch.targets = torch::tensor(targets, torch::kFloat).view({-1, 6});
    return batch;
  }

  void add_augmented(DetectionBatch& batch, std::int64_t epoch, std::int64_t index, std::int64_t position,
                     std::int64_t side, float* pixels, std::vector<float>& targets) const {
    CounterRng rng(options_.seed, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(index));
    const auto view = augmented(*dataset_, index, side, options_.hyp, rng);
    for (std::size_t i = 0; i < view.rgb.size(); ++i) pixels[i] = static_cast<float>(view.rgb[i]) / 255;
    batch.placements.emplace_back();
    add_targets(view.objects, position, static_cast<double>(side), static_cast<double>(side), targets);
  }

  void add_plain(DetectionBatch& batch, std::int64_t index, std::int64_t position, const ImageSize& shape,
                 float* pixels, std::vector<float>& targets) const {
    const auto placement = placement_in(dataset_->image_size(index), shape.height, shape.width);
    const auto shorter = static_cast<double>(std::min(placement.image.height, placement.image.width));
    const auto image =
        dataset_->image(index, static_cast<std::int64_t>(std::ceil(shorter * placement.scale_x)));
    letterbox(image, placement, shape.height, shape.width, pixels);
    batch.placements.push_back(placement);
    add_targets(placed(dataset_->objects(index), placement), position, static_cast<double>(shape.height),
                static_cast<double>(shape.width), targets);
  }

  const DetectionLoaderOptions options_;
  const std::shared_ptr<const DetectionDataset> dataset_;
  Order by_shape_;
  mutable std::mutex order_mutex_;
  mutable std::shared_ptr<const Order> order_;
  mutable std::int64_t order_epoch_ = -1;
  trainers::OrderedWork<DetectionBatch> work_;  // last, so that its threads end first
};

DetectionLoaderOptions in_order(std::int64_t image_size, std::int64_t batch_size, std::int64_t workers) {
  DetectionLoaderOptions loading;
  loading.image_size = image_size, loading.stride = 1;
  loading.batch_size = batch_size, loading.workers = workers;
  return loading;
}

DetectionLoader::DetectionLoader(std::shared_ptr<const DetectionDataset> dataset,
                                 const DetectionLoaderOptions& options)
    : impl_(std::make_unique<Impl>(std::move(dataset), options)) {}
DetectionLoader::~DetectionLoader() = default;
std::int64_t DetectionLoader::steps_per_epoch() const { return impl_->steps_per_epoch(); }
void DetectionLoader::start_epoch(std::int64_t epoch, std::int64_t first_batch) {
  impl_->start_epoch(epoch, first_batch);
}
std::optional<DetectionBatch> DetectionLoader::next() { return impl_->next(); }

}  // namespace sparsify::detection
