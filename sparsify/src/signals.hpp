// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace sparsify {

/// From now on the first SIGINT or SIGTERM only raises a flag; a second one ends the program as usual.
void catch_stop_signals();
bool stop_requested();
/// Throws Interrupted, saying that what the user waited for was not done, when a stop was requested.
void stop_if_requested(const std::string& undone);

}  // namespace sparsify
