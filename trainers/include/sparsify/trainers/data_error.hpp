// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sparsify/error.hpp>

namespace sparsify::trainers {

/// A sample that cannot be read: bad input, though found only when its turn came.
class DataError : public Error {
 public:
  using Error::Error;
};

}  // namespace sparsify::trainers
