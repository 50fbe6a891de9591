// SPDX-License-Identifier: Apache-2.0
#include "signals.hpp"

#include <unistd.h>

#include <csignal>

#include "workflow/input_error.hpp"

namespace sparsify {
namespace {

volatile std::sig_atomic_t requested = 0;

extern "C" void note_stop(int signal) {
  requested = 1;
  std::signal(signal, SIG_DFL);
  constexpr char message[] = "\nstopping after this step; press Ctrl-C again to end at once\n";
  [[maybe_unused]] const auto ignored = write(STDERR_FILENO, message, sizeof message - 1);
}

}  // namespace

void catch_stop_signals() {
  std::signal(SIGINT, note_stop);
  std::signal(SIGTERM, note_stop);
}

bool stop_requested() { return requested != 0; }

void stop_if_requested(const std::string& undone) {
  if (stop_requested()) throw Interrupted("stopped; " + undone);
}

}  // namespace sparsify
