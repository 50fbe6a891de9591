// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace sparsify::trainers {

/// Calls work(index) for 0 <= index < count on `threads` threads (0: all cores), in chunks. The first
/// exception stops the rest and is thrown here.
template <class Work>
void for_each_index(int64_t count, int64_t threads, const Work& work) {
  constexpr int64_t kChunk = 64;
  if (threads <= 0) threads = std::max(1U, std::thread::hardware_concurrency());
  std::atomic<int64_t> cursor{0};
  std::mutex mutex;
  std::exception_ptr error;
  auto run = [&] {
    try {
      for (int64_t begin; (begin = cursor.fetch_add(kChunk)) < count;)
        for (int64_t i = begin; i < std::min(count, begin + kChunk); ++i) work(i);
    } catch (...) {
      cursor = count;
      std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> pool;
    for (int64_t i = 1; i < std::min(threads, (count + kChunk - 1) / kChunk); ++i) pool.emplace_back(run);
    run();
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace sparsify::trainers
