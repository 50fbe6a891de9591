// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace sparsify {

/// From now on the first SIGINT or SIGTERM only raises a flag; a second one ends the program as usual.
void catch_stop_signals();
bool stop_requested();

}  // namespace sparsify
