// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sparsify/error.hpp"

namespace sparsify {

/// What was asked for cannot be done as given: found before any work, nothing was written. Exit code 2.
class InputError : public Error {
 public:
  using Error::Error;
};

/// The user asked to stop; `what()` says how to go on. Exit code 130.
class Interrupted : public Error {
 public:
  using Error::Error;
};

/// Runs `act`; what it finds wrong is bad input.
template <class Act>
auto as_input(Act&& act) {
  try {
    return act();
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
    throw InputError(error.what());
  }
}

}  // namespace sparsify
