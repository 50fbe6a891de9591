// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace sparsify::trainers {

/// Makes things 0, 1, 2 ... on threads, some ahead of the one asked for, and hands them out in order. An
/// exception takes the place of the thing that it prevented.
template <class Thing>
class OrderedWork {
 public:
  /// `make(epoch, number)` is called from several threads at once; with `workers` 0 by take().
  OrderedWork(std::int64_t workers, std::int64_t ahead,
              std::function<Thing(std::int64_t epoch, std::int64_t number)> make)
      : make_(std::move(make)), ahead_(ahead) {
    try {
      for (std::int64_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
    } catch (...) {  // the threads that did start are joined
      stop();
      throw;
    }
  }
  ~OrderedWork() { stop(); }
  OrderedWork(const OrderedWork&) = delete;
  OrderedWork& operator=(const OrderedWork&) = delete;

  /// From now on things of this epoch, from `first` to below `end`.
  void start(std::int64_t epoch, std::int64_t first, std::int64_t end) {
    {
      const std::lock_guard lock(mutex_);
      ++round_;
      epoch_ = epoch, next_made_ = next_taken_ = first, end_ = end;
      made_.clear();
    }
    changed_.notify_all();
  }

  /// The next thing, or nothing at the end.
  std::optional<Thing> take() {
    std::unique_lock lock(mutex_);
    if (next_taken_ >= end_) return std::nullopt;
    const auto number = next_taken_++;
    if (threads_.empty()) {
      next_made_ = next_taken_;
      lock.unlock();
      return make_(epoch_, number);
    }
    changed_.notify_all();
    changed_.wait(lock, [&] { return made_.count(number) > 0; });
    auto made = std::move(made_.at(number));
    made_.erase(number);
    lock.unlock();
    if (made.error) std::rethrow_exception(made.error);
    return std::move(made.thing);
  }

 private:
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
  }

  struct Made {
    std::optional<Thing> thing{};
    std::exception_ptr error{};
  };

  bool can_make() const { return next_made_ < end_ && next_made_ < next_taken_ + ahead_; }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stopping_ || can_make(); });
      if (stopping_) return;
      const auto number = next_made_++, round = round_, epoch = epoch_;
      lock.unlock();
      Made made;
      try {
        made.thing.emplace(make_(epoch, number));
      } catch (...) {
        made.error = std::current_exception();
      }
      lock.lock();
      if (round == round_) made_[number] = std::move(made);
      changed_.notify_all();
    }
  }

  const std::function<Thing(std::int64_t, std::int64_t)> make_;
  const std::int64_t ahead_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::int64_t, Made> made_;
  std::int64_t epoch_ = 0, next_made_ = 0, next_taken_ = 0, end_ = 0;
  std::int64_t round_ = 0;  ///< calls of start: what was begun before the last one is dropped
  bool stopping_ = false;
  std::vector<std::jthread> threads_;  ///< last, so that they are joined first
};

}  // namespace sparsify::trainers
