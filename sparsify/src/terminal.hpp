// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "sparsify/trainers/metrics.hpp"
#include "sparsify/trainers/trainer.hpp"

namespace sparsify {

/// Standard error as people see it: log lines, and on a terminal one status line below them that is
/// rewritten.
class Terminal {
 public:
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  bool is_interactive() const { return interactive_; }
  /// Prints a line above the status line.
  void line(const std::string& text);
  /// Replaces the status line; nothing where there is no terminal.
  void status(const std::string& text);

 private:
  bool interactive_;
  std::string status_;
};

/// Turns reports of long work into a status line (at most ten times a second).
class Progress {
 public:
  explicit Progress(Terminal& terminal) : terminal_(terminal) {}
  void step(const TrainProgress& progress);
  void images(const std::string& what, std::int64_t done, std::int64_t of);

 private:
  using Clock = std::chrono::steady_clock;
  bool is_due();

  Terminal& terminal_;
  Clock::time_point shown_{}, started_ = Clock::now();
  double first_done_ = -1;  ///< epochs that were done when this process began
};

/// "epoch 3/12  loss 1.2034  val top-1 71.20 %  sparsity 43.1 %  INT8  2100 img/s  5.6 s".
std::string describe(const EpochMetrics& row, const std::string& metric, std::int64_t epochs);

}  // namespace sparsify
