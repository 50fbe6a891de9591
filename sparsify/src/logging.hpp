// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace sparsify {

class Terminal;

/// Sends spdlog's default logger to the terminal.
void log_to(Terminal& terminal);
/// And from now on to a file as well, with times; appends. A file that cannot be written is done without.
void log_to(const std::filesystem::path& file);

}  // namespace sparsify
