// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "sparsify/trainers/task.hpp"
#include "workflow/model_card.hpp"

namespace sparsify {

/// Data that fits a network, opened: what validation, calibration and export need of it.
class DataSource {
 public:
  virtual ~DataSource() = default;
  virtual std::unique_ptr<Validation> validation(std::int64_t batch_size, std::int64_t workers) const = 0;
  virtual std::unique_ptr<CalibrationImages> calibration_images(std::int64_t batch_size,
                                                                std::int64_t workers) const = 0;

  /// The first validation image as the network gets it, [1, 3, H, W].
  torch::Tensor first_image() const { return validation(1, 0)->next().value(); }
};

/// Opens a data set for a card: same input size, and a class count that fits the network. `note` hears what
/// is strange about its labels. Throws Error.
std::shared_ptr<const DataSource> open_data_for(const ModelCard& card, const std::string& spec,
                                                const std::function<void(const std::string&)>& note);

/// The data's path when it names something on disk, made absolute; other specifications as they are.
std::string absolute_data(const std::string& spec);

}  // namespace sparsify
