// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "sparsify/trainers/network.hpp"
#include "workflow/networks.hpp"

namespace sparsify {

/// The network of `--distill-teacher`, in eval mode: of a run directory or a checkpoint, or of darknet's
/// .weights with its .cfg beside it. Null for "none". Throws InputError for one that is quantized, or whose
/// outputs do not mean what the student's do.
std::shared_ptr<Network> open_teacher(const std::string& path, const OpenedTask& student);

}  // namespace sparsify
