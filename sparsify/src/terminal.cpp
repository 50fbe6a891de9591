// SPDX-License-Identifier: Apache-2.0
#include "terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "workflow/metric_names.hpp"
#include "workflow/table.hpp"

namespace sparsify {
namespace {

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

template <class... Values>
std::string print(const char* format, Values... values) {
  char text[160];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

}  // namespace

Terminal::Terminal() : interactive_(isatty(STDERR_FILENO) != 0) {}
Terminal::~Terminal() { status(""); }

void Terminal::line(const std::string& text) {
  const auto below = std::exchange(status_, "");
  if (!below.empty()) std::fputs("\r\033[K", stderr);
  std::fputs((text + "\n").c_str(), stderr);
  status(below);
}

void Terminal::status(const std::string& text) {
  if (!interactive_ || text == status_) return;
  status_ = text.substr(0, terminal_width() - 1);
  std::fputs(("\r\033[K" + status_).c_str(), stderr);
  std::fflush(stderr);
}

bool Progress::is_due() {
  if (!terminal_.is_interactive() || Clock::now() - shown_ < std::chrono::milliseconds(100)) return false;
  shown_ = Clock::now();
  return true;
}

void Progress::images(const std::string& what, std::int64_t done, std::int64_t of) {
  if (done >= of) return terminal_.status("");
  if (is_due())
    terminal_.status(print("%s: %lld of %lld images", what.c_str(), static_cast<long long>(done),
                           static_cast<long long>(of)));
}

void Progress::step(const TrainProgress& p) {
  const bool last = p.step == p.steps;
  if (!is_due() && !last) return;
  if (last)
    return terminal_.status(print("epoch %lld/%lld  validating", static_cast<long long>(p.epoch + 1),
                                  static_cast<long long>(p.epochs)));
  const double done =
      static_cast<double>(p.epoch) + static_cast<double>(p.step) / static_cast<double>(p.steps);
  const double elapsed = std::chrono::duration<double>(shown_ - started_).count();
  if (first_done_ < 0) first_done_ = done;
  const double trained = done - first_done_;
  const auto left =
      trained > 0 ? format_seconds(elapsed * (static_cast<double>(p.epochs) - done) / trained) : "?";
  terminal_.status(print("epoch %lld/%lld  step %lld/%lld  loss %.4f  %.0f img/s  %s left",
                         static_cast<long long>(p.epoch + 1), static_cast<long long>(p.epochs),
                         static_cast<long long>(p.step), static_cast<long long>(p.steps), p.loss,
                         p.images_per_second, left.c_str()));
}

std::string describe(const EpochMetrics& row, const std::string& metric, std::int64_t epochs) {
  return print("epoch %lld/%lld  loss %.4f  val %s %.2f %%  sparsity %.1f %%  %s%.0f img/s  %.1f s",
               static_cast<long long>(row.epoch + 1), static_cast<long long>(epochs),
               value_of(row.train, "loss"), label_of(metric).c_str(), 100 * row.val[metric],
               100 * row.sparsity, row.quantized ? "INT8  " : "", row.images_per_second, row.seconds);
}

}  // namespace sparsify
