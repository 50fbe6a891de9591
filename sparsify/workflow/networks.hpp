// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sparsify/trainers/task.hpp"
#include "workflow/data_source.hpp"
#include "workflow/model_card.hpp"
#include "workflow/settings.hpp"

namespace sparsify {

/// A network with the data it is to learn from, as a run's settings ask for.
struct OpenedTask {
  std::shared_ptr<Task> task;
  std::shared_ptr<const DataSource> data;  ///< judges what an exported file gives
  ModelCard card;                          ///< all but what it says of the recipe
  std::string data_report{};               ///< see data_report(); empty where nothing is to be reported
  std::string describe;  ///< of the data: "12000 training and 2000 validation images, 10 classes, 32 px"
};

/// "12000 training and 2000 validation images, 10 classes, 32 px".
std::string describe_data(std::int64_t train, std::int64_t val, const ModelCard& card);

/// Opens data and builds the network from the seed; with `load`, reads its starting weights. Throws Error.
OpenedTask open_task(const Settings& settings, bool load,
                     const std::function<void(const std::string&)>& note);

/// Freshly initialised, as a card describes it. Throws Error.
std::shared_ptr<Network> build_network(const ModelCard& card);

/// The same by name, or by the file of a detector, with as many classes as is usual for it.
std::shared_ptr<Network> build_network(const std::string& model);

/// Throws Error, which lists what there is, for a name that no network has. Files are not looked for.
void check_known(const std::string& model);

/// The figure that a network of this name is judged by. Throws Error for a name that no network has.
std::string metric_of(const std::string& model);

}  // namespace sparsify
