// SPDX-License-Identifier: Apache-2.0
#include "bench.hpp"

#include <algorithm>
#include <chrono>
#include <random>

namespace sparsify::bench {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

}  // namespace

double milliseconds(const std::function<void()>& act) {
  const auto start = std::chrono::steady_clock::now();
  act();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

Record compare(const std::string& name, const std::string& what, int pairs, const std::function<void()>& ours,
               const std::function<void()>& baseline, const std::function<double()>& extra_ours_ms) {
  ours();
  baseline();
  const double extra = extra_ours_ms();
  std::vector<double> own, other, ratios;
  for (int i = 0; i < pairs; ++i) {
    // Alternate which side goes first: the second one finds a warmer clock and colder caches.
    if (i % 2) other.push_back(milliseconds(baseline));
    own.push_back(milliseconds(ours) + extra);
    if (i % 2 == 0) other.push_back(milliseconds(baseline));
    ratios.push_back(own.back() / other.back());
  }
  std::mt19937 random(1);
  std::vector<double> medians;
  for (int i = 0; i < 2000; ++i) {
    std::vector<double> sample;
    for (std::size_t k = 0; k < ratios.size(); ++k) sample.push_back(ratios[random() % ratios.size()]);
    medians.push_back(median(sample));
  }
  std::sort(medians.begin(), medians.end());
  Record record{name,        what,          "",   median(ratios), medians[50], medians[1949],
                median(own), median(other), pairs};
  return record;
}

}  // namespace sparsify::bench
