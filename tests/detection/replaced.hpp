// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <torch/torch.h>

#include <catch2/catch_test_macros.hpp>
#include <string>

namespace detection_test {

/// A text with the first `what` in it, which has to be there, replaced.
inline std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const auto at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

}  // namespace detection_test
