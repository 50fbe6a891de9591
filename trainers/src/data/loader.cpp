// SPDX-License-Identifier: Apache-2.0
#include <sparsify/trainers/loader.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <torch/types.h>

#include <sparsify/error.hpp>
#include <sparsify/trainers/data_error.hpp>

namespace sparsify::trainers {
namespace {

// Keeps the stream that orders an epoch apart from those of its samples.
constexpr uint64_t kOrderStream = ~uint64_t{0};

void require(bool condition, const std::string& message) {
  if (!condition) throw Error("loader: " + message);
}

const LoaderOptions& checked(const LoaderOptions& options) {
  require(options.batch_size > 0,
          "batch_size is " + std::to_string(options.batch_size) + "; expected at least 1");
  require(options.workers >= 0, "workers is " + std::to_string(options.workers) + "; expected 0 or more");
  require(options.prefetch > 0, "prefetch is " + std::to_string(options.prefetch) + "; expected at least 1");
  require(options.shards > 0 && options.shard >= 0 && options.shard < options.shards,
          "shard " + std::to_string(options.shard) + " of " + std::to_string(options.shards) +
              "; expected 0 <= shard < shards");
  return options;
}

/// A batch in the making. Workers fill disjoint parts; counts and error are guarded by the loader's mutex.
struct Slot {
  Batch batch;
  float* images = nullptr;
  int64_t* labels = nullptr;
  int64_t first = 0;  ///< position of its first sample in the epoch's order
  int64_t count = 0;
  int64_t claimed = 0;
  int64_t done = 0;
  std::atomic<bool> dropped{false};
  std::exception_ptr error;
  int64_t error_at = 0;
};

}  // namespace

class Loader::Impl {
 public:
  Impl(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
      : dataset_(std::move(dataset)),
        options_(checked(options)),
        transform_(options.image_size, options.normalization, options.augmentation) {
    require(dataset_ != nullptr && dataset_->size() > 0, "the data set is empty");
    for (int64_t i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { work(); });
  }

  ~Impl() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
      drop_slots();
    }
    work_available_.notify_all();
  }

  const Dataset& dataset() const { return *dataset_; }
  const LoaderOptions& options() const { return options_; }

  int64_t steps_per_epoch() const {
    int64_t global = options_.batch_size * options_.shards;
    return options_.drop_last ? dataset_->size() / global : (dataset_->size() + global - 1) / global;
  }

  void start_epoch(int64_t epoch, int64_t first_batch) {
    require(first_batch >= 0 && first_batch <= steps_per_epoch(),
            "first_batch is " + std::to_string(first_batch) +
                "; expected 0 to steps_per_epoch = " + std::to_string(steps_per_epoch()));
    auto order = std::make_shared<const std::vector<int64_t>>(order_of(epoch));
    {
      std::lock_guard lock(mutex_);
      drop_slots();
      order_ = std::move(order);
      epoch_ = epoch;
      next_to_make_ = first_batch;
      next_to_give_ = first_batch;
    }
    work_available_.notify_all();
  }

  std::optional<Batch> next() {
    std::unique_lock lock(mutex_);
    if (!order_ || next_to_give_ >= steps_per_epoch()) return std::nullopt;
    if (options_.workers == 0) {
      slots_.push_back(make_slot());
      while (auto claim = claim_samples()) fill(*claim, lock);
    }
    batch_ready_.wait(lock, [&] { return !slots_.empty() && slots_.front()->done == slots_.front()->count; });
    auto slot = slots_.front();
    slots_.pop_front();
    ++next_to_give_;
    lock.unlock();
    work_available_.notify_all();
    if (slot->error) std::rethrow_exception(slot->error);
    return std::move(slot->batch);
  }

 private:
  /// Some samples of a slot that one worker fills, with what it needs while it holds no lock.
  struct Claim {
    std::shared_ptr<Slot> slot;
    std::shared_ptr<const std::vector<int64_t>> order;
    int64_t epoch;
    int64_t begin;
    int64_t end;
  };

  std::vector<int64_t> order_of(int64_t epoch) const {
    std::vector<int64_t> order(static_cast<size_t>(dataset_->size()));
    std::iota(order.begin(), order.end(), int64_t{0});
    if (!options_.shuffle) return order;
    CounterRng rng(options_.seed, static_cast<uint64_t>(epoch), kOrderStream);
    for (size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i], order[static_cast<size_t>(rng.below(static_cast<int64_t>(i + 1)))]);
    return order;
  }

  void drop_slots() {
    for (auto& slot : slots_) slot->dropped = true;
    slots_.clear();
  }

  bool can_make_slot() const {
    return order_ && next_to_make_ < steps_per_epoch() &&
           static_cast<int64_t>(slots_.size()) < options_.prefetch;
  }

  bool has_unclaimed() const { return !slots_.empty() && slots_.back()->claimed < slots_.back()->count; }

  std::shared_ptr<Slot> make_slot() {
    auto slot = std::make_shared<Slot>();
    int64_t global = options_.batch_size * options_.shards;
    int64_t begin = next_to_make_++ * global;
    int64_t present = std::min(global, dataset_->size() - begin);
    slot->first = begin + present * options_.shard / options_.shards;
    slot->count = begin + present * (options_.shard + 1) / options_.shards - slot->first;
    try {
      allocate(*slot);
    } catch (...) {  // reported by next(), like whatever else happens in a worker
      slot->error = std::current_exception();
      slot->count = 0;
    }
    return slot;
  }

  void allocate(Slot& slot) const {
    int64_t side = options_.image_size;
    slot.batch.images = torch::empty({slot.count, 3, side, side}, torch::MemoryFormat::ChannelsLast);
    slot.batch.labels = torch::empty({slot.count}, torch::kInt64);
    slot.images = slot.batch.images.data_ptr<float>();
    slot.labels = slot.batch.labels.data_ptr<int64_t>();
  }

  // Small enough that the workers finish a batch together, large enough that the lock does not matter.
  std::optional<Claim> claim_samples() {
    if (!has_unclaimed()) return std::nullopt;
    auto& slot = slots_.back();
    int64_t workers = std::max<int64_t>(options_.workers, 1);
    int64_t chunk = std::clamp<int64_t>(slot->count / (4 * workers), 1, 16);
    int64_t begin = slot->claimed;
    slot->claimed = std::min(slot->count, begin + chunk);
    return Claim{slot, order_, epoch_, begin, slot->claimed};
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_available_.wait(lock, [&] { return stopping_ || has_unclaimed() || can_make_slot(); });
      if (stopping_) return;
      if (!has_unclaimed()) slots_.push_back(make_slot());
      if (slots_.back()->count == 0) batch_ready_.notify_one();
      if (auto claim = claim_samples()) fill(*claim, lock);
    }
  }

  // Enters and leaves with the lock held; works without it.
  void fill(const Claim& claim, std::unique_lock<std::mutex>& lock) {
    Slot& slot = *claim.slot;
    lock.unlock();
    std::exception_ptr error;
    int64_t at = claim.begin;
    try {
      for (; at < claim.end && !slot.dropped; ++at) fill_sample(claim, at);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error && (!slot.error || at < slot.error_at)) {
      slot.error = error;
      slot.error_at = at;
    }
    slot.done += claim.end - claim.begin;
    if (slot.done == slot.count) batch_ready_.notify_one();
  }

  Image read(int64_t index, CounterRng& rng) const {
    try {
      return dataset_->image(index, transform_.shorter_side_needed(rng));
    } catch (const Error& error) {
      throw DataError(error.what());
    }
  }

  void fill_sample(const Claim& claim, int64_t at) const {
    int64_t index = (*claim.order)[static_cast<size_t>(claim.slot->first + at)];
    CounterRng rng(options_.seed, static_cast<uint64_t>(claim.epoch), static_cast<uint64_t>(index));
    Image image = read(index, rng);
    int64_t side = options_.image_size;
    transform_.apply(image, rng, claim.slot->images + at * side * side * 3);
    claim.slot->labels[at] = dataset_->label(index);
  }

  const std::shared_ptr<const Dataset> dataset_;
  const LoaderOptions options_;
  const Transform transform_;

  std::mutex mutex_;
  std::condition_variable work_available_;
  std::condition_variable batch_ready_;
  std::deque<std::shared_ptr<Slot>>
      slots_;  // in the order they are given out; only the last has unclaimed samples
  std::shared_ptr<const std::vector<int64_t>> order_;
  int64_t epoch_ = 0;
  int64_t next_to_make_ = 0;
  int64_t next_to_give_ = 0;
  bool stopping_ = false;
  std::vector<std::jthread> threads_;  // last, so that they are joined first
};

LoaderOptions in_order(const Datasets& set, int64_t batch_size, int64_t workers) {
  LoaderOptions options;
  options.batch_size = batch_size;
  options.workers = workers;
  options.image_size = set.image_size;
  options.normalization = set.normalization;
  return options;
}

Loader::Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(std::move(dataset), options)) {}
Loader::~Loader() = default;
const Dataset& Loader::dataset() const { return impl_->dataset(); }
const LoaderOptions& Loader::options() const { return impl_->options(); }
int64_t Loader::steps_per_epoch() const { return impl_->steps_per_epoch(); }
void Loader::start_epoch(int64_t epoch, int64_t first_batch) { impl_->start_epoch(epoch, first_batch); }
std::optional<Batch> Loader::next() { return impl_->next(); }

}  // namespace sparsify::trainers
