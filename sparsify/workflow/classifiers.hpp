// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "workflow/networks.hpp"

namespace sparsify {

/// See open_task, for a classifier of the zoo.
OpenedTask open_classification(const Settings& settings, bool load,
                               const std::function<void(const std::string&)>& note);

std::shared_ptr<Network> build_classifier(const ModelCard& card);

}  // namespace sparsify
