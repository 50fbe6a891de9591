// SPDX-License-Identifier: Apache-2.0
// Things made ahead on threads come out in order.
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <latch>
#include <stdexcept>
#include <thread>

#include "data/ordered_work.hpp"

using sparsify::trainers::OrderedWork;
using Numbers = std::vector<std::int64_t>;

namespace {

std::int64_t name_of(std::int64_t epoch, std::int64_t number) { return epoch * 100 + number; }

Numbers rest(OrderedWork<std::int64_t>& work) {
  Numbers taken;
  while (const auto thing = work.take()) taken.push_back(*thing);
  return taken;
}

}  // namespace

TEST_CASE("things come in order whichever thread is slow") {
  for (const std::int64_t workers : {0, 1, 4}) {
    OrderedWork<std::int64_t> work(workers, 3, [](std::int64_t epoch, std::int64_t number) {
      std::this_thread::sleep_for(std::chrono::milliseconds(number % 3 == 0 ? 4 : 0));
      return name_of(epoch, number);
    });
    CHECK(!work.take());  // nothing was started
    work.start(1, 0, 7);
    CHECK(rest(work) == Numbers{100, 101, 102, 103, 104, 105, 106});
    CHECK(!work.take());
    work.start(2, 4, 6);
    CHECK(rest(work) == Numbers{204, 205});
    work.start(3, 5, 5);
    CHECK(!work.take());
  }
}

TEST_CASE("what was begun for an earlier start is dropped") {
  std::latch begun(2), may_end(1);
  OrderedWork<std::int64_t> work(3, 2, [&](std::int64_t epoch, std::int64_t number) {
    if (epoch == 0) {
      begun.count_down();
      may_end.wait();
    }
    return name_of(epoch, number);
  });
  work.start(0, 0, 9);
  begun.wait();
  work.start(1, 0, 3);
  CHECK(work.take() == 100);
  may_end.count_down();
  CHECK(rest(work) == Numbers{101, 102});
}

TEST_CASE("no more is made ahead than is allowed") {
  std::atomic<std::int64_t> made = 0;
  OrderedWork<std::int64_t> work(4, 2, [&](std::int64_t epoch, std::int64_t number) {
    ++made;
    return name_of(epoch, number);
  });
  work.start(0, 0, 100);
  for (std::int64_t taken = 0; taken < 5; ++taken) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(made <= taken + 2);
    work.take();
  }
}

TEST_CASE("an exception takes the place of what it prevented") {
  for (const std::int64_t workers : {0, 2}) {
    OrderedWork<std::int64_t> work(workers, 4, [](std::int64_t epoch, std::int64_t number) {
      if (number == 1) throw std::runtime_error("no " + std::to_string(name_of(epoch, number)));
      return name_of(epoch, number);
    });
    work.start(7, 0, 3);
    CHECK(work.take() == 700);
    CHECK_THROWS_AS(work.take(), std::runtime_error);
    CHECK(work.take() == 702);
    CHECK(!work.take());
  }
}

TEST_CASE("work ends at once with things left to take") {
  std::atomic<std::int64_t> made = 0;
  {
    OrderedWork<std::int64_t> work(3, 5, [&](std::int64_t, std::int64_t number) {
      ++made;
      return number;
    });
    work.start(0, 0, 1000);
    work.take();
  }
  CHECK(made <= 6);
}
