// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "workflow/input_error.hpp"

namespace sparsify {

/// All that several checks find wrong, so that one run reports all of it.
class Problems {
 public:
  void add(const std::string& problem) { text_ += (text_.empty() ? "" : "\n") + problem; }

  /// Adds what `check` throws.
  template <class Check>
  void of(Check&& check) {
    try {
      check();
    } catch (const Error& error) {
      add(error.what());
    }
  }

  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }
  /// Throws InputError with all of it, unless there is nothing.
  void raise() const {
    if (!empty()) throw InputError(text_);
  }

 private:
  std::string text_;
};

}  // namespace sparsify
