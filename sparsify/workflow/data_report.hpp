// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sparsify/detection/dataset.hpp"

namespace sparsify {

/// All that is strange about a set's labels and images, by kind, the most frequent first; empty where nothing
/// is.
std::string data_report(const std::string& set, const std::vector<detection::LabelFinding>& findings);

/// The first finding of each kind, with the number of others; of very many kinds those that are most
/// frequent, and how many findings are of the others. `run_keeps_all`: where some are left out, tells that a
/// run keeps them.
void tell_findings(const std::vector<detection::LabelFinding>& findings, bool run_keeps_all,
                   const std::function<void(const std::string&)>& note);

/// The classes with their `objects`, unless these are empty: where nothing but the annotations says which
/// classes there are, a misspelt name is one of them.
void tell_classes(const std::vector<std::string>& names, const std::vector<std::int64_t>& objects,
                  const std::function<void(const std::string&)>& note);

}  // namespace sparsify
