// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace sparsify::bench {

/// One comparison: ratio = time(ours) / time(baseline), paired sample by sample; below 1 is faster.
struct Record {
  std::string name;
  std::string what;
  std::string precision;
  double ratio = 0;                      ///< median of the paired ratios
  double ratio_low = 0, ratio_high = 0;  ///< 95 % bootstrap interval of that median
  double ours_ms = 0, baseline_ms = 0;   ///< medians
  int pairs = 0;
};

/// A comparison that can be run by name.
struct Comparison {
  std::string name;
  std::function<Record()> run;
};

/// All comparisons, in the order they are printed.
std::vector<Comparison> training_step_comparisons();
std::vector<Comparison> quantization_comparisons();
std::vector<Comparison> detection_comparisons();
std::vector<Comparison> detection_data_comparisons();
std::vector<Comparison> nms_comparisons();
std::vector<Comparison> mask_comparisons();
std::vector<Comparison> recipe_comparisons();

/// Times both sides alternately `pairs` times, after one warm-up of each. `extra_ours_ms` is added to every
/// sample of ours: work that happens every so many steps, spread over them.
Record compare(
    const std::string& name, const std::string& what, int pairs, const std::function<void()>& ours,
    const std::function<void()>& baseline, const std::function<double()>& extra_ours_ms = [] { return 0.0; });

/// Milliseconds that one call takes.
double milliseconds(const std::function<void()>& act);

}  // namespace sparsify::bench
