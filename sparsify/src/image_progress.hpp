// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "signals.hpp"
#include "terminal.hpp"
#include "workflow/parity.hpp"

namespace sparsify {

/// Shows how far work on images is; Ctrl-C ends it, saying what then is not done.
inline ImageProgress show_images(Progress& progress, const std::string& undone) {
  return [&progress, undone](const std::string& what, std::int64_t done, std::int64_t of) {
    stop_if_requested(undone);
    progress.images(what, done, of);
  };
}

}  // namespace sparsify
